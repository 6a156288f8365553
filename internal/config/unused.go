package config

import (
	"slices"
	"strings"
)

// unusedKong lists kong.conf's keys that mean nothing here, or nothing yet. A
// file or environment made for Kong is accepted with them and told so once.
func unusedKong() []string {
	return []string{
		"prefix", "plugins", "dedicated_config_processing", "pluginserver_names", "port_maps", "anonymous_reports", "node_id", "role",
		"status_access_log", "status_error_log",
		"stream_listen", "proxy_stream_access_log", "proxy_stream_error_log",
		"proxy_server", "proxy_server_ssl_verify", "error_template_html", "error_template_json", "error_template_xml", "error_template_plain", "error_default_type",
		"admin_gui_listen", "admin_gui_url", "admin_gui_path", "admin_gui_api_url", "admin_gui_access_log", "admin_gui_error_log", "admin_gui_ssl_cert",
		"admin_gui_ssl_cert_key", "admin_gui_origin", "admin_gui_csp_header",
		"cluster_mtls", "cluster_cert", "cluster_cert_key", "cluster_ca_cert", "cluster_server_name", "cluster_control_plane", "cluster_telemetry_listen", "cluster_telemetry_endpoint",
		"cluster_data_plane_purge_delay", "cluster_ocsp", "cluster_use_proxy", "cluster_max_payload", "cluster_dp_labels", "cluster_rpc", "cluster_rpc_sync", "cluster_cjson", "data_plane_config_cache_mode", "data_plane_config_cache_path",
		"declarative_config", "declarative_config_string", "db_update_frequency", "db_update_propagation", "db_cache_ttl", "db_cache_neg_ttl", "db_resurrect_ttl", "db_cache_warmup_entities",
		"pg_host", "pg_port", "pg_timeout", "pg_user", "pg_password", "pg_database", "pg_schema", "pg_ssl", "pg_ssl_verify", "pg_ssl_required", "pg_ssl_version", "pg_max_concurrent_queries", "pg_semaphore_timeout",
		"pg_keepalive_timeout", "pg_pool_size", "pg_backlog", "pg_ro_host", "pg_ro_port", "pg_ro_user", "pg_ro_password", "pg_ro_database",
		"mem_cache_size",
		"lua_ssl_protocols", "lua_socket_pool_size", "lua_package_path", "lua_package_cpath",
		"lua_max_req_headers", "lua_max_resp_headers", "lua_max_uri_args", "lua_max_post_args", "allow_debug_header",
		"dns_resolver", "dns_hostsfile", "dns_order", "dns_valid_ttl", "dns_stale_ttl", "dns_cache_size", "dns_not_found_ttl", "dns_error_ttl", "dns_no_sync", "new_dns_client",
		"resolver_address", "resolver_hosts_file", "resolver_family", "resolver_valid_ttl", "resolver_stale_ttl", "resolver_error_ttl", "resolver_lru_cache_size", "resolver_mem_cache_size",
		"worker_consistency", "worker_state_update_frequency", "router_flavor", "vaults", "untrusted_lua", "untrusted_lua_sandbox_requires", "untrusted_lua_sandbox_environment",
		"wasm", "wasm_filters_path", "wasm_filters", "request_debug", "request_debug_token", "tracing_instrumentations", "tracing_sampling_rate", "opentelemetry_tracing", "opentelemetry_tracing_sampling_rate",
		"nginx_user", "nginx_worker_processes", "nginx_daemon", "nginx_optimizations",
	}
}

// nginxPrefixes are the families of keys with which kong.conf puts directives
// into nginx's configuration, which does not exist here.
func nginxPrefixes() []string {
	return []string{"nginx_main_", "nginx_events_", "nginx_http_", "nginx_proxy_", "nginx_admin_", "nginx_status_", "nginx_stream_", "nginx_sproxy_",
		"nginx_supstream_", "nginx_upstream_", "nginx_location_", "nginx_admin_gui_", "nginx_wasm_", "nginx_debug_", "pluginserver_", "vault_"}
}

// knownToKong says whether a key that is no setting of ours is one of Kong's.
func knownToKong(key string) bool {
	if slices.Contains(unusedKong(), key) {
		return true
	}
	return slices.ContainsFunc(nginxPrefixes(), func(p string) bool { return strings.HasPrefix(key, p) })
}
