// Package config knows the settings of a node: one table gives the file keys,
// the KONG_* and SLUICE_* variables and the flags. Later layers win:
//
//	defaults < file < KONG_* < SLUICE_* < flags
//
// The origin of every value is kept, so that a user can see why a setting is
// what it is.
package config

import (
	"slices"
	"strings"
)

// Setting is one row of the table.
type Setting struct {
	// Name is the file key (proxy_listen); the variable is SLUICE_ with the
	// name in upper case, the flag is the name with dashes.
	Name string
	// Kong says that the name and its syntax are Kong's, so KONG_* sets it too.
	Kong bool
	// Default is the value as it would stand in a file; "" is unset.
	Default string
	// Help is one line for --help; the parts of the value and its unit.
	Help string

	kind kind
}

// Env is the setting's own environment variable.
func (s *Setting) Env() string { return "SLUICE_" + strings.ToUpper(s.Name) }

// Flag is the setting's flag without its dashes.
func (s *Setting) Flag() string { return strings.ReplaceAll(s.Name, "_", "-") }

// Settings gives the table in the order of its documentation.
func Settings() []*Setting {
	return slices.Concat(nodeSettings(), nginxSettings(), upstreamSettings())
}

func nodeSettings() []*Setting {
	return []*Setting{
		{Name: "proxy_listen", Kong: true, kind: listenKind, Default: "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384",
			Help: "addresses that take clients' requests; flags ssl, http2 and proxy_protocol; off for none"},
		{Name: "admin_listen", Kong: true, kind: listenKind, Default: "127.0.0.1:8001 reuseport backlog=16384, 127.0.0.1:8444 http2 ssl reuseport backlog=16384",
			Help: "addresses of the Admin API; see admin_auth for those that other hosts reach"},
		{Name: "admin_auth", kind: choiceKind("auto", "on", "off"), Default: "auto",
			Help: "whether the Admin API asks for tokens or client certificates: auto on every address but loopback ones, on everywhere, off nowhere"},
		{Name: "status_listen", Kong: true, kind: listenKind, Default: "127.0.0.1:8007 reuseport backlog=16384",
			Help: "addresses of /status, /status/ready and /metrics, which tell and change nothing; off for none"},
		{Name: "cluster_listen", Kong: true, kind: addressKind, Default: "127.0.0.1:8005",
			Help: "address (TCP and UDP) for the other nodes; anything but loopback needs insecure_cluster"},
		{Name: "cluster_advertise", kind: addressKind,
			Help: "address under which the other nodes reach this one, where it differs from cluster_listen"},
		{Name: "join", kind: seedsKind,
			Help: "cluster addresses of other nodes, by commas; dns:NAME asks DNS for them"},
		{Name: "expect", kind: countKind(0, 99), Default: "0",
			Help: "form a new cluster once this many nodes with the same join and expect have met; 0: never"},
		{Name: "max_voters", kind: countKind(1, 9), Default: "5",
			Help: "nodes that vote; further ones serve as well and cost no quorum"},
		{Name: "insecure_cluster", kind: boolKind, Default: "off",
			Help: "let cluster_listen be reachable from other hosts, although it has no encryption or authentication yet"},
		{Name: "node_name", kind: nameKind,
			Help: "name shown for this node; the host's name unless set"},
		{Name: "data_dir", kind: textKind, Default: "./sluice-data",
			Help: "directory of everything the node keeps: replicated state, certificates, logs"},
		{Name: "history_changes", kind: countKind(1, 1_000_000), Default: "1000",
			Help: "how many changes of the configuration are remembered, for history, as_of and rollback; each write goes by the setting of the node that takes it"},
		{Name: "history_size", kind: sizeKind(1 << 16), Default: "16m",
			Help: "how many bytes of entities the history may keep, if that is less than history_changes; the newest change is always kept"},
		{Name: "encryption_keys", kind: keysKind,
			Help: "keys (32 bytes in base64 or hex), or files with one on each line, by commas, that seal what is stored of the configuration: the first seals, all open; in clear if unset"},
		{Name: "limits_audit", kind: directoryKind, Default: "off",
			Help: "directory (under data_dir if relative) for a record of 96 bytes of every admission that a rate limit counts, never deleted, written before the answer; off for none"},
		{Name: "database", Kong: true, kind: choiceKind("off", "postgres"), Default: "off",
			Help: "for Kong's sake: off and postgres both mean no external database, and writes work with both"},

		{Name: "log_level", Kong: true, kind: levelKind, Default: "notice",
			Help: "least level of the error logs: debug, info, notice, warn, error, crit, alert or emerg"},
		{Name: "proxy_access_log", Kong: true, kind: accessLogKind(FormatKong, FormatCombined, FormatJSON), Default: "logs/access.log",
			Help: "one line for each request; a path (under data_dir if relative), /dev/stdout, or off; a format may follow: kong (default), combined or json"},
		{Name: "proxy_error_log", Kong: true, kind: errorLogKind, Default: "logs/error.log",
			Help: "what the proxy and the cluster have to tell, JSON lines; a path, /dev/stderr, or off"},
		{Name: "admin_access_log", Kong: true, kind: accessLogKind(FormatCombined, FormatJSON), Default: "logs/admin_access.log",
			Help: "one line for each Admin API request; a path, /dev/stdout, or off; a format may follow: combined (default) or json"},
		{Name: "admin_error_log", Kong: true, kind: errorLogKind, Default: "logs/error.log",
			Help: "what the Admin API has to tell, JSON lines; a path, /dev/stderr, or off"},

		{Name: "event_loop", kind: choiceKind("auto", "epoll", "io_uring"), Default: "auto",
			Help: "how sockets of HTTP/1.1 are waited for: auto is io_uring where the kernel lets the node have it, and epoll elsewhere"},
		{Name: "trusted_ips", Kong: true, kind: networksKind,
			Help: "addresses and CIDR blocks of proxies whose X-Forwarded-* and real_ip_header are believed, by commas"},
		{Name: "real_ip_header", Kong: true, kind: headerKind, Default: "X-Real-IP",
			Help: "header in which a trusted proxy gives the client's address; proxy_protocol: it is in the PROXY header of the connection"},
		{Name: "real_ip_recursive", Kong: true, kind: boolKind, Default: "off",
			Help: "take the last address in real_ip_header that is not trusted, in place of the last one"},
		{Name: "headers", Kong: true, kind: headersKind, Default: "server_tokens, latency_tokens, X-Kong-Request-Id",
			Help: "headers of our own in responses, by commas; off for none"},

		{Name: "vault_env_prefix", Kong: true, kind: textKind,
			Help: "what the names of variables begin with that {vault://env/NAME} leads to"},
		{Name: "vault_file_directory", kind: directoryKind, Default: "off",
			Help: "directory (under data_dir if relative) of the files that {vault://file/NAME} leads to; off for none"},

		{Name: "ssl_cert", Kong: true, kind: contentsKind,
			Help: "certificate files (PEM) of the TLS proxy listeners, or their content, by commas; for names without a certificate of their own; self-made if unset"},
		{Name: "ssl_cert_key", Kong: true, kind: contentsKind,
			Help: "key files of ssl_cert, or their content, in the same order"},
		{Name: "admin_ssl_cert", Kong: true, kind: contentsKind,
			Help: "certificate files (PEM) of the TLS Admin API listeners, or their content, by commas; self-made if unset"},
		{Name: "admin_ssl_cert_key", Kong: true, kind: contentsKind,
			Help: "key files of admin_ssl_cert, or their content, in the same order"},
		{Name: "status_ssl_cert", Kong: true, kind: contentsKind,
			Help: "certificate files (PEM) of the TLS addresses of status_listen, or their content, by commas; self-made if unset"},
		{Name: "status_ssl_cert_key", Kong: true, kind: contentsKind,
			Help: "key files of status_ssl_cert, or their content, in the same order"},
		{Name: "admin_ssl_client_ca", kind: contentsKind,
			Help: "authorities (PEM files, or their content, by commas) whose client certificates the TLS Admin API listeners take in place of tokens"},
		{Name: "ssl_cipher_suite", Kong: true, kind: cipherSuiteKind, Default: "intermediate",
			Help: "TLS for clients: modern (TLS 1.3 only), intermediate (1.2 and 1.3), old (from 1.0), fips (1.2), or custom: ssl_ciphers and ssl_protocols"},
		{Name: "ssl_ciphers", Kong: true, kind: textKind,
			Help: "with custom, ciphers of TLS 1.2 and before as an OpenSSL list; Go's choice if unset"},
		{Name: "ssl_protocols", Kong: true, kind: textKind, Default: "TLSv1.2 TLSv1.3",
			Help: "with custom, the TLS versions offered: TLSv1, TLSv1.1, TLSv1.2, TLSv1.3"},
		{Name: "ssl_prefer_server_ciphers", Kong: true, kind: boolKind, Default: "on",
			Help: "for Kong's sake, without effect: the order of ciphers is Go's"},
		{Name: "ssl_dhparam", Kong: true, kind: textKind,
			Help: "for Kong's sake, without effect: finite-field Diffie-Hellman is not offered"},
		{Name: "ssl_session_tickets", Kong: true, kind: boolKind, Default: "on",
			Help: "let clients resume TLS sessions, in every version of TLS"},
		{Name: "ssl_session_timeout", Kong: true, kind: timeKind(true), Default: "1d",
			Help: "for how long a session may be resumed, and how often the keys of tickets change; 7 days at most"},
		{Name: "ssl_session_cache_size", Kong: true, kind: sizeKind(0), Default: "10m",
			Help: "for Kong's sake, without effect: clients keep their sessions"},
		{Name: "client_ssl", Kong: true, kind: boolKind, Default: "off",
			Help: "show services client_ssl_cert, unless they have a client_certificate"},
		{Name: "client_ssl_cert", Kong: true, kind: contentKind,
			Help: "certificate file (PEM) of client_ssl, or its content"},
		{Name: "client_ssl_cert_key", Kong: true, kind: contentKind,
			Help: "key file of client_ssl_cert, or its content"},
		{Name: "lua_ssl_trusted_certificate", Kong: true, kind: contentsKind, Default: "system",
			Help: "certificates (PEM files, or their content) that services with tls_verify and without ca_certificates are verified with; system for the system's"},
		{Name: "lua_ssl_verify_depth", Kong: true, kind: countKind(0, 64), Default: "1",
			Help: "how many certificates may stand between a service's own and a trusted one, unless it has a tls_verify_depth"},
	}
}

// Find gives the setting of a name, or nil.
func Find(name string) *Setting {
	all := Settings()
	if i := slices.IndexFunc(all, func(s *Setting) bool { return s.Name == name }); i >= 0 {
		return all[i]
	}
	return nil
}
