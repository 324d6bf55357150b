-- The daemon's metrics for OpenWrt's prometheus-node-exporter-lua; it goes to /usr/lib/lua/prometheus-collectors/ketuk.lua.

local function scrape()
  local pipe = assert(io.popen("ketukd metrics"))
  local text = pipe:read("*a")
  pipe:close()
  -- The exporter then says in node_scrape_collector_success that this collector failed.
  assert(text:find("ketuk_up", 1, true), "ketukd metrics says nothing\n")
  output((text:gsub("\n$", "")))
end

return { scrape = scrape }
