# Completion of ketukd and ketuk for bash.
_ketuk() {
	local cur=${COMP_WORDS[COMP_CWORD]} found
	found=$(/usr/share/ketuk/complete "${COMP_WORDS[@]:0:COMP_CWORD+1}" | cut -f 1)
	if [[ $found == FILES ]]; then
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	else
		mapfile -t COMPREPLY < <(compgen -W "$found" -- "$cur")
	fi
}
complete -F _ketuk ketukd ketuk
