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
			Help: "addresses of the Admin API; it is not protected, so it binds loopback unless told otherwise"},
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

		{Name: "trusted_ips", Kong: true, kind: networksKind,
			Help: "addresses and CIDR blocks of proxies whose X-Forwarded-* and real_ip_header are believed, by commas"},
		{Name: "real_ip_header", Kong: true, kind: headerKind, Default: "X-Real-IP",
			Help: "header in which a trusted proxy gives the client's address; proxy_protocol: it is in the PROXY header of the connection"},
		{Name: "real_ip_recursive", Kong: true, kind: boolKind, Default: "off",
			Help: "take the last address in real_ip_header that is not trusted, in place of the last one"},
		{Name: "headers", Kong: true, kind: headersKind, Default: "server_tokens, latency_tokens, X-Kong-Request-Id",
			Help: "headers of our own in responses, by commas; off for none"},

		{Name: "ssl_cert", Kong: true, kind: listKind,
			Help: "certificate files (PEM) of the TLS proxy listeners, by commas; self-made if unset"},
		{Name: "ssl_cert_key", Kong: true, kind: listKind,
			Help: "key files of ssl_cert, in the same order"},
		{Name: "admin_ssl_cert", Kong: true, kind: listKind,
			Help: "certificate files (PEM) of the TLS Admin API listeners, by commas; self-made if unset"},
		{Name: "admin_ssl_cert_key", Kong: true, kind: listKind,
			Help: "key files of admin_ssl_cert, in the same order"},
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
