package config

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// File is the settings file that was read, or "".
func (c *Config) File() string { return c.file }

// Values gives every setting with its value and origin, in the table's order.
func (c *Config) Values() []*Value { return slices.Clone(c.order) }

// Notes gives what the log should say once about the settings: variables and
// keys that set nothing, and parts of values that mean nothing.
func (c *Config) Notes() []string {
	var notes []string
	if len(c.unused) > 0 {
		notes = append(notes, "set for Kong and not used by Sluice: "+strings.Join(c.unused, ", "))
	}
	if len(c.unknown) > 0 {
		notes = append(notes, "not known to Kong or Sluice: "+strings.Join(c.unknown, ", "))
	}
	notes = append(notes, c.tlsNotes()...)
	if len(c.AdminClientAuthorities()) > 0 && !slices.ContainsFunc(c.AdminListen(), func(l Listener) bool { return l.TLS }) {
		notes = append(notes, "admin_ssl_client_ca has no effect: no address of admin_listen has the flag ssl")
	}
	for _, v := range c.order {
		if place, ok := v.parsed.(LogPlace); ok && place.Ignored != "" {
			notes = append(notes, fmt.Sprintf("%s: %q after the path means nothing here", v.Name, place.Ignored))
		}
	}
	if c.proxyProtocol() && (len(c.TrustedIPs()) == 0 || !strings.EqualFold(c.RealIPHeader(), realIPProxyProtocol)) {
		notes = append(notes, "proxy_listen has proxy_protocol, and clients have the load balancer's address all the same: "+
			"that takes real_ip_header proxy_protocol and the load balancer in trusted_ips")
	}
	return notes
}

// realIPProxyProtocol is the value of real_ip_header that is no header's name.
const realIPProxyProtocol = "proxy_protocol"

// proxyProtocol says whether any listener of the proxy has that flag.
func (c *Config) proxyProtocol() bool {
	return slices.ContainsFunc(c.ProxyListen(), func(l Listener) bool { return l.ProxyProtocol })
}

// ProxyListen gives the addresses for clients; none if off.
func (c *Config) ProxyListen() []Listener { return c.listen("proxy_listen") }

// AdminListen gives the addresses of the Admin API; none if off.
func (c *Config) AdminListen() []Listener { return c.listen("admin_listen") }

// StatusListen gives the addresses of the Status API; none if off.
func (c *Config) StatusListen() []Listener { return c.listen("status_listen") }

// ClusterListen is the host:port of the cluster port.
func (c *Config) ClusterListen() string { return c.text("cluster_listen") }

// ClusterAdvertise is the host:port under which others reach ClusterListen, ""
// if it follows from that.
func (c *Config) ClusterAdvertise() string { return c.text("cluster_advertise") }

// Join gives the other nodes' cluster addresses.
func (c *Config) Join() []string { return c.list("join") }

// Expect is how many nodes form a new cluster; 0: none is formed by meeting.
func (c *Config) Expect() int { return value[int](c, "expect") }

// HistoryChanges and HistorySize bound the history of the configuration: in changes, and
// in bytes.
func (c *Config) HistoryChanges() int { return value[int](c, "history_changes") }
func (c *Config) HistorySize() int64  { return value[int64](c, "history_size") }

// MaxVoters is how many nodes vote at most.
func (c *Config) MaxVoters() int { return value[int](c, "max_voters") }

// InsecureCluster allows a ClusterListen that other hosts reach.
func (c *Config) InsecureCluster() bool { return value[bool](c, "insecure_cluster") }

// NodeName is the node's name; the host's if unset.
func (c *Config) NodeName() string {
	if name := c.text("node_name"); name != "" {
		return name
	}
	if host, err := os.Hostname(); err == nil && host != "" {
		return host
	}
	return "node"
}

// DataDir is the directory of everything the node keeps.
func (c *Config) DataDir() string { return c.text("data_dir") }

// EncryptionKeys gives the keys, and the files of keys, that seal what is stored.
func (c *Config) EncryptionKeys() []string { return c.list("encryption_keys") }

// LimitsAudit is the directory for the record of admissions, "" for off.
func (c *Config) LimitsAudit() string { return c.directory("limits_audit") }

// VaultEnvPrefix: see the setting.
func (c *Config) VaultEnvPrefix() string { return c.text("vault_env_prefix") }

// VaultFileDirectory is the directory of the vault file, "" for none.
func (c *Config) VaultFileDirectory() string { return c.directory("vault_file_directory") }

// directory gives a directory, under DataDir if it is relative, or "".
func (c *Config) directory(name string) string {
	dir := c.text(name)
	if dir == "" || filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(c.DataDir(), dir)
}

// LogLevel is one of Kong's level names.
func (c *Config) LogLevel() string { return c.text("log_level") }

// ProxyAccessLog, ProxyErrorLog, AdminAccessLog and AdminErrorLog give a path,
// or "" for off; relative ones are made absolute under DataDir.
func (c *Config) ProxyAccessLog() string { return c.logPath("proxy_access_log") }

// ProxyErrorLog: see ProxyAccessLog.
func (c *Config) ProxyErrorLog() string { return c.logPath("proxy_error_log") }

// AdminAccessLog: see ProxyAccessLog.
func (c *Config) AdminAccessLog() string { return c.logPath("admin_access_log") }

// AdminErrorLog: see ProxyAccessLog.
func (c *Config) AdminErrorLog() string { return c.logPath("admin_error_log") }

// ProxyAccessLogFormat is FormatKong, FormatCombined or FormatJSON.
func (c *Config) ProxyAccessLogFormat() string { return value[LogPlace](c, "proxy_access_log").Format }

// AdminAccessLogFormat is FormatCombined or FormatJSON.
func (c *Config) AdminAccessLogFormat() string { return value[LogPlace](c, "admin_access_log").Format }

// TrustedIPs gives the networks of trusted proxies.
func (c *Config) TrustedIPs() []netip.Prefix { return value[[]netip.Prefix](c, "trusted_ips") }

// RealIPHeader names the header with the client's address, or is proxy_protocol in
// any case: the address is in the PROXY header.
func (c *Config) RealIPHeader() string { return c.text("real_ip_header") }

// RealIPRecursive: see the setting.
func (c *Config) RealIPRecursive() bool { return value[bool](c, "real_ip_recursive") }

// EventLoop is auto, epoll or io_uring.
func (c *Config) EventLoop() string { return c.text("event_loop") }

// Headers gives Kong's names of headers and header groups for responses.
func (c *Config) Headers() []string { return c.list("headers") }

// ProxyCertificates gives certificate and key files in pairs; none: self-made.
func (c *Config) ProxyCertificates() (certs, keys []string) {
	return c.list("ssl_cert"), c.list("ssl_cert_key")
}

// AdminCertificates is ProxyCertificates for the Admin API.
func (c *Config) AdminCertificates() (certs, keys []string) {
	return c.list("admin_ssl_cert"), c.list("admin_ssl_cert_key")
}

// StatusCertificates is ProxyCertificates for the Status API.
func (c *Config) StatusCertificates() (certs, keys []string) {
	return c.list("status_ssl_cert"), c.list("status_ssl_cert_key")
}

// AdminAuth is auto, on or off; see the setting.
func (c *Config) AdminAuth() string { return c.text("admin_auth") }

// AdminClientAuthorities gives what verifies the client certificates of the Admin
// API; none: they are not asked for.
func (c *Config) AdminClientAuthorities() []string { return c.list("admin_ssl_client_ca") }

func value[T any](c *Config, name string) T {
	v, _ := c.values[name].parsed.(T)
	return v
}

func (c *Config) text(name string) string       { return value[string](c, name) }
func (c *Config) list(name string) []string     { return value[[]string](c, name) }
func (c *Config) listen(name string) []Listener { return value[[]Listener](c, name) }

func (c *Config) logPath(name string) string {
	path := value[LogPlace](c, name).Path
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.DataDir(), path)
}
