/* A stand-in for nft(8) on processors for which no distribution packages it. It was written from
 * linux/netfilter/nf_tables.h, not from ketuk's code, and has only the commands that guest.sh needs:
 *
 *   nft -f FILE                      table inet fw4 with chain input_wan, and TCP port 22 shut behind it
 *   nft -f -                         the sets and the rules for input_wan that `ketukd ruleset` prints
 *   nft list set inet fw4 NAME       the addresses in a set
 *   nft delete table inet fw4
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

static char out[8192];
static size_t used;
static struct nlmsghdr *message;

static void begin(uint16_t type, uint16_t flags, uint8_t family)
{
	struct nfgenmsg *gen;

	message = (struct nlmsghdr *)(out + used);
	memset(message, 0, NLMSG_HDRLEN + sizeof(*gen));
	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	gen = NLMSG_DATA(message);
	gen->nfgen_family = family;
	used += NLMSG_HDRLEN + sizeof(*gen);
}

static void end(void)
{
	message->nlmsg_len = out + used - (char *)message;
}

static void put(uint16_t type, const void *value, size_t len)
{
	struct nlattr *attr = (struct nlattr *)(out + used);

	attr->nla_type = type;
	attr->nla_len = NLA_HDRLEN + len;
	memcpy(out + used + NLA_HDRLEN, value, len);
	used += NLA_ALIGN(NLA_HDRLEN + len);
}

static void put_text(uint16_t type, const char *text)
{
	put(type, text, strlen(text) + 1);
}

static void put_number(uint16_t type, uint32_t number)
{
	number = htonl(number);
	put(type, &number, 4);
}

static size_t open_nest(uint16_t type)
{
	size_t at = used;

	put(type | NLA_F_NESTED, "", 0);
	return at;
}

static void close_nest(size_t at)
{
	((struct nlattr *)(out + at))->nla_len = used - at;
}

static void die(const char *what)
{
	fprintf(stderr, "nft (a stand-in): %s: %s\n", what, strerror(errno));
	exit(1);
}

/* Calls `each` with each answer. An error of the kernel ends the program. */
static void talk(const char *what, void (*each)(struct nlmsghdr *), int answers)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER);
	static char in[65536];

	if (fd < 0 || sendto(fd, out, used, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		die(what);
	while (answers > 0) {
		int len = recv(fd, in, sizeof(in), 0);
		struct nlmsghdr *got = (struct nlmsghdr *)in;

		if (len < 0)
			die(what);
		for (; NLMSG_OK(got, (unsigned int)len); got = NLMSG_NEXT(got, len)) {
			if (got->nlmsg_type == NLMSG_ERROR) {
				errno = -((struct nlmsgerr *)NLMSG_DATA(got))->error;
				if (errno)
					die(what);
				answers--;
			} else if (got->nlmsg_type == NLMSG_DONE) {
				answers--;
			} else if (each) {
				each(got);
			}
		}
	}
	close(fd);
	used = 0;
}

#define TYPE(kind) (NFNL_SUBSYS_NFTABLES << 8 | (kind))

static void begin_batch(void)
{
	begin(NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC);
	((struct nfgenmsg *)NLMSG_DATA(message))->res_id = htons(NFNL_SUBSYS_NFTABLES);
	end();
}

static void end_batch(const char *what, int answers)
{
	begin(NFNL_MSG_BATCH_END, 0, AF_UNSPEC);
	((struct nfgenmsg *)NLMSG_DATA(message))->res_id = htons(NFNL_SUBSYS_NFTABLES);
	end();
	talk(what, NULL, answers);
}

static size_t open_expression(const char *name, size_t *data)
{
	size_t element = open_nest(NFTA_LIST_ELEM);

	put_text(NFTA_EXPR_NAME, name);
	*data = open_nest(NFTA_EXPR_DATA);
	return element;
}

static void meta(uint32_t key)
{
	size_t data, element = open_expression("meta", &data);

	put_number(NFTA_META_KEY, key);
	put_number(NFTA_META_DREG, NFT_REG_1);
	close_nest(data);
	close_nest(element);
}

static void payload(uint32_t base, uint32_t offset, uint32_t len)
{
	size_t data, element = open_expression("payload", &data);

	put_number(NFTA_PAYLOAD_DREG, NFT_REG_1);
	put_number(NFTA_PAYLOAD_BASE, base);
	put_number(NFTA_PAYLOAD_OFFSET, offset);
	put_number(NFTA_PAYLOAD_LEN, len);
	close_nest(data);
	close_nest(element);
}

static void equals(const void *value, size_t len)
{
	size_t data, nest, element = open_expression("cmp", &data);

	put_number(NFTA_CMP_SREG, NFT_REG_1);
	put_number(NFTA_CMP_OP, NFT_CMP_EQ);
	nest = open_nest(NFTA_CMP_DATA);
	put(NFTA_DATA_VALUE, value, len);
	close_nest(nest);
	close_nest(data);
	close_nest(element);
}

static void lookup(const char *set)
{
	size_t data, element = open_expression("lookup", &data);

	put_text(NFTA_LOOKUP_SET, set);
	put_number(NFTA_LOOKUP_SREG, NFT_REG_1);
	close_nest(data);
	close_nest(element);
}

static void verdict(uint32_t code, const char *chain)
{
	size_t data, nest, inner, element = open_expression("immediate", &data);

	put_number(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	nest = open_nest(NFTA_IMMEDIATE_DATA);
	inner = open_nest(NFTA_DATA_VERDICT);
	put_number(NFTA_VERDICT_CODE, code);
	if (chain)
		put_text(NFTA_VERDICT_CHAIN, chain);
	close_nest(inner);
	close_nest(nest);
	close_nest(data);
	close_nest(element);
}

static size_t open_rule(const char *chain, uint16_t flags)
{
	begin(TYPE(NFT_MSG_NEWRULE), NLM_F_CREATE | NLM_F_ACK | flags, NFPROTO_INET);
	put_text(NFTA_RULE_TABLE, "fw4");
	put_text(NFTA_RULE_CHAIN, chain);
	return open_nest(NFTA_RULE_EXPRESSIONS);
}

static void close_rule(size_t nest)
{
	close_nest(nest);
	end();
}

static void tcp_port(uint16_t port)
{
	uint8_t tcp = IPPROTO_TCP;

	meta(NFT_META_L4PROTO);
	equals(&tcp, 1);
	payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2);
	port = htons(port);
	equals(&port, 2);
}

static void add_table(void)
{
	size_t nest;

	begin_batch();
	begin(TYPE(NFT_MSG_NEWTABLE), NLM_F_CREATE | NLM_F_ACK, NFPROTO_INET);
	put_text(NFTA_TABLE_NAME, "fw4");
	end();
	begin(TYPE(NFT_MSG_NEWCHAIN), NLM_F_CREATE | NLM_F_ACK, NFPROTO_INET);
	put_text(NFTA_CHAIN_TABLE, "fw4");
	put_text(NFTA_CHAIN_NAME, "input_wan");
	end();
	begin(TYPE(NFT_MSG_NEWCHAIN), NLM_F_CREATE | NLM_F_ACK, NFPROTO_INET);
	put_text(NFTA_CHAIN_TABLE, "fw4");
	put_text(NFTA_CHAIN_NAME, "input");
	put_text(NFTA_CHAIN_TYPE, "filter");
	put_number(NFTA_CHAIN_POLICY, NF_ACCEPT);
	nest = open_nest(NFTA_CHAIN_HOOK);
	put_number(NFTA_HOOK_HOOKNUM, NF_INET_LOCAL_IN);
	put_number(NFTA_HOOK_PRIORITY, 0);
	close_nest(nest);
	end();
	nest = open_rule("input", NLM_F_APPEND);
	verdict(NFT_JUMP, "input_wan");
	close_rule(nest);
	nest = open_rule("input", NLM_F_APPEND);
	tcp_port(22);
	verdict(NF_DROP, NULL);
	close_rule(nest);
	end_batch("table inet fw4", 5);
}

static void add_set(const char *name, int four)
{
	begin_batch();
	begin(TYPE(NFT_MSG_NEWSET), NLM_F_CREATE | NLM_F_ACK, NFPROTO_INET);
	put_text(NFTA_SET_TABLE, "fw4");
	put_text(NFTA_SET_NAME, name);
	put_number(NFTA_SET_FLAGS, NFT_SET_TIMEOUT);
	put_number(NFTA_SET_KEY_TYPE, four ? 7 : 8);
	put_number(NFTA_SET_KEY_LEN, four ? 4 : 16);
	put_number(NFTA_SET_ID, 1);
	end();
	end_batch(name, 1);
}

static void add_rule(const char *set, int four, unsigned int port)
{
	uint8_t family = four ? NFPROTO_IPV4 : NFPROTO_IPV6;
	size_t nest;

	begin_batch();
	nest = open_rule("input_wan", 0);
	meta(NFT_META_NFPROTO);
	equals(&family, 1);
	tcp_port(port);
	payload(NFT_PAYLOAD_NETWORK_HEADER, four ? 12 : 8, four ? 4 : 16);
	lookup(set);
	verdict(NF_ACCEPT, NULL);
	close_rule(nest);
	end_batch("a rule", 1);
}

static void load(FILE *file)
{
	char line[1024], name[64], version;
	unsigned int port;

	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "add set inet fw4 %63s { type ipv%c_addr", name, &version) == 2)
			add_set(name, version == '4');
		else if (sscanf(line, "insert rule inet fw4 input_wan meta nfproto ipv%c tcp dport %u %*s saddr @%63s",
				&version, &port, name) == 3)
			add_rule(name, version == '4', port);
		else if (line[0] != '#' && line[0] != '\n') {
			fprintf(stderr, "nft (a stand-in): cannot read: %s", line);
			exit(1);
		}
	}
}

/* The attribute of a type among those in `len` bytes. */
static struct nlattr *find(void *from, int len, int type)
{
	struct nlattr *attr = from;

	while (len >= NLA_HDRLEN && attr->nla_len >= NLA_HDRLEN && attr->nla_len <= len) {
		if ((attr->nla_type & NLA_TYPE_MASK) == type)
			return attr;
		len -= NLA_ALIGN(attr->nla_len);
		attr = (void *)((char *)attr + NLA_ALIGN(attr->nla_len));
	}
	return NULL;
}

#define INSIDE(attr) ((char *)(attr) + NLA_HDRLEN), (attr)->nla_len - NLA_HDRLEN

static void print_elements(struct nlmsghdr *got)
{
	char *at = (char *)NLMSG_DATA(got) + sizeof(struct nfgenmsg), text[64];
	struct nlattr *list = find(at, NLMSG_PAYLOAD(got, sizeof(struct nfgenmsg)), NFTA_SET_ELEM_LIST_ELEMENTS);
	int len = list ? list->nla_len - NLA_HDRLEN : 0;
	struct nlattr *element = list ? (void *)((char *)list + NLA_HDRLEN) : NULL;

	while (len >= NLA_HDRLEN) {
		struct nlattr *key = find(INSIDE(element), NFTA_SET_ELEM_KEY);
		struct nlattr *value = key ? find(INSIDE(key), NFTA_DATA_VALUE) : NULL;

		if (value)
			puts(inet_ntop(value->nla_len == NLA_HDRLEN + 4 ? AF_INET : AF_INET6, (char *)value + NLA_HDRLEN, text, sizeof(text)));
		len -= NLA_ALIGN(element->nla_len);
		element = (void *)((char *)element + NLA_ALIGN(element->nla_len));
	}
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "-f")) {
		if (strcmp(argv[2], "-"))
			add_table();
		else
			load(stdin);
	} else if (argc == 6 && !strcmp(argv[1], "list")) {
		begin(TYPE(NFT_MSG_GETSETELEM), NLM_F_DUMP, NFPROTO_INET);
		put_text(NFTA_SET_ELEM_LIST_TABLE, "fw4");
		put_text(NFTA_SET_ELEM_LIST_SET, argv[5]);
		end();
		talk(argv[5], print_elements, 1);
	} else if (argc == 5 && !strcmp(argv[1], "delete")) {
		begin_batch();
		begin(TYPE(NFT_MSG_DELTABLE), NLM_F_ACK, NFPROTO_INET);
		put_text(NFTA_TABLE_NAME, "fw4");
		end();
		end_batch("delete table", 1);
	} else {
		fprintf(stderr, "nft (a stand-in): no such command\n");
		return 1;
	}
	return 0;
}
