package config

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"
)

// loaded is Load with a file of this text at the usual place.
func loaded(t *testing.T, file string, environ []string, args ...string) (*Config, error) {
	t.Helper()
	set := pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags := Bind(set)
	if err := set.Parse(args); err != nil {
		t.Fatal(err)
	}
	src := flags.Sources(environ)
	src.Places = []string{filepath.Join(t.TempDir(), "missing.conf")}
	if file != "" {
		path := filepath.Join(t.TempDir(), "sluice.conf")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		src.Places = append(src.Places, path)
	}
	return Load(src)
}

func (c *Config) origin(name string) string {
	o := c.values[name].Origin
	if i := strings.LastIndexByte(o, '/'); i >= 0 {
		o = o[i+1:]
	}
	return o
}

func TestLayers(t *testing.T) {
	file := "log_level = info\nmax_voters = 3 # three\n"
	tests := map[string]struct {
		file    string
		environ []string
		args    []string
		level   string
		origin  string
	}{
		"default":         {"", nil, nil, "notice", "default"},
		"file":            {file, nil, nil, "info", "sluice.conf:1"},
		"kong":            {file, []string{"KONG_LOG_LEVEL=warn"}, nil, "warn", "KONG_LOG_LEVEL"},
		"sluice":          {file, []string{"SLUICE_LOG_LEVEL=error", "KONG_LOG_LEVEL=warn"}, nil, "error", "SLUICE_LOG_LEVEL"},
		"flag":            {file, []string{"SLUICE_LOG_LEVEL=error", "KONG_LOG_LEVEL=warn"}, []string{"--log-level", "debug"}, "debug", "flag --log-level"},
		"empty variables": {file, []string{"SLUICE_LOG_LEVEL=", "KONG_LOG_LEVEL="}, nil, "info", "sluice.conf:1"},
		"empty key":       {"log_level =\n", nil, nil, "notice", "default"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := loaded(t, tt.file, tt.environ, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			if c.LogLevel() != tt.level || c.origin("log_level") != tt.origin {
				t.Errorf("log_level is %q from %q, want %q from %q", c.LogLevel(), c.origin("log_level"), tt.level, tt.origin)
			}
		})
	}
}

func TestLimitsAudit(t *testing.T) {
	for value, want := range map[string]string{"": "", "off": "", "audit": "/d/audit", "/a": "/a"} {
		c, err := loaded(t, "data_dir = /d\nlimits_audit = "+value+"\n", nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.LimitsAudit(); got != want {
			t.Errorf("%q is %q, not %q", value, got, want)
		}
	}
}

func TestVaults(t *testing.T) {
	c, err := loaded(t, "data_dir = /d\nvault_file_directory = s\n", []string{"KONG_VAULT_ENV_PREFIX=X_"})
	if err != nil || c.VaultFileDirectory() != "/d/s" || c.VaultEnvPrefix() != "X_" || len(c.Notes()) > 0 {
		t.Errorf("%v, directory %q, prefix %q, notes %q", err, c.VaultFileDirectory(), c.VaultEnvPrefix(), c.Notes())
	}
}

// TestEverySettingEveryLayer sets each setting in each layer that it has, and
// sees it arrive.
func TestEverySettingEveryLayer(t *testing.T) {
	values := map[string]string{
		"proxy_listen": "127.0.0.1:1", "admin_listen": "off", "status_listen": "off", "history_changes": "10", "history_size": "1m", "cluster_listen": "127.0.0.1:2", "cluster_advertise": "10.0.0.1:3",
		"join": "a:1, b:2", "expect": "0", "max_voters": "3", "insecure_cluster": "on", "node_name": "n", "data_dir": "/d", "limits_audit": "audit", "encryption_keys": "/k", "vault_env_prefix": "X_", "vault_file_directory": "/s", "database": "postgres",
		"admin_auth": "on", "admin_ssl_client_ca": "/ca.pem",
		"log_level": "crit", "trusted_ips": "10.0.0.0/8", "real_ip_header": "X-Forwarded-For", "real_ip_recursive": "on", "headers": "off",
		"ssl_cipher_suite": "old", "ssl_ciphers": "AES128-SHA", "ssl_protocols": "TLSv1.2", "ssl_prefer_server_ciphers": "off", "ssl_dhparam": "ffdhe2048",
		"ssl_session_tickets": "off", "ssl_session_timeout": "10m", "ssl_session_cache_size": "1m", "client_ssl": "off", "client_ssl_cert": "/c.pem",
		"client_ssl_cert_key": "/k.pem", "lua_ssl_trusted_certificate": "/ca.pem", "lua_ssl_verify_depth": "2",
		"proxy_access_log": "/a json", "proxy_error_log": "off", "admin_access_log": "/b", "admin_error_log": "/c",
		"event_loop": "epoll", "headers_upstream": "off", "upstream_keepalive_pool_size": "0", "upstream_keepalive_max_requests": "7", "upstream_keepalive_idle_timeout": "1m",
	}
	for directive, value := range map[string]string{
		"client_max_body_size": "8m", "client_body_buffer_size": "16k", "client_header_timeout": "5s", "client_body_timeout": "1m", "send_timeout": "500ms",
		"keepalive_timeout": "0", "keepalive_requests": "100", "large_client_header_buffers": "4 16k",
	} {
		values[prefixHTTP+directive], values[prefixProxy+directive] = value, value
	}
	for _, s := range Settings() {
		value, ok := values[s.Name]
		if !ok {
			if !strings.Contains(s.Name, "ssl_cert") {
				t.Errorf("no value for %s in this test", s.Name)
			}
			continue
		}
		layers := map[string]struct {
			file    string
			environ []string
			args    []string
		}{
			"file": {file: s.Name + " = " + value},
			"own":  {environ: []string{s.Env() + "=" + value}},
			"flag": {args: []string{"--" + s.Flag() + "=" + value}},
		}
		if s.Kong {
			kong := layers["own"]
			kong.environ = []string{"KONG_" + strings.ToUpper(s.Name) + "=" + value}
			layers["kong"] = kong
		}
		for layer, l := range layers {
			c, err := loaded(t, l.file, l.environ, l.args...)
			if err != nil {
				t.Errorf("%s by %s: %v", s.Name, layer, err)
			} else if got := c.values[s.Name]; got.Text != value || got.Origin == "default" || got.parsed == nil && value != "off" {
				t.Errorf("%s by %s is %q from %q", s.Name, layer, got.Text, got.Origin)
			}
		}
	}
}

func TestDefaults(t *testing.T) {
	c, err := loaded(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	tuning := []string{"reuseport", "backlog=16384"}
	if diff := cmp.Diff([]Listener{{Addr: "0.0.0.0:8000", Tuning: tuning}, {Addr: "0.0.0.0:8443", TLS: true, HTTP2: true, Tuning: tuning}}, c.ProxyListen()); diff != "" {
		t.Error(diff)
	}
	for _, l := range c.AdminListen() {
		if !loopback(l.Addr) {
			t.Errorf("the Admin API listens on %s by default", l.Addr)
		}
	}
	if !loopback(c.ClusterListen()) {
		t.Errorf("the cluster port is %s by default", c.ClusterListen())
	}
	if got, want := c.ProxyAccessLog(), filepath.Join("sluice-data", "logs", "access.log"); got != want {
		t.Errorf("proxy_access_log is %s, want %s", got, want)
	}
	if c.NodeName() == "" || c.Expect() != 0 || c.MaxVoters() != 5 || c.Join() != nil || c.TrustedIPs() != nil || c.RealIPRecursive() {
		t.Errorf("defaults: %+v", c)
	}
	if notes := c.Notes(); notes != nil {
		t.Errorf("notes of the defaults: %q", notes)
	}
}

func TestTypedValues(t *testing.T) {
	c, err := loaded(t, "", []string{
		"KONG_TRUSTED_IPS=10.1.2.3/8, ::1,192.168.0.1", "KONG_DATABASE=off", "KONG_PROXY_ACCESS_LOG=/dev/stdout", "KONG_ADMIN_ERROR_LOG=stderr",
		"KONG_ADMIN_ACCESS_LOG=off", "KONG_PROXY_ERROR_LOG=/var/log/e.log debug",
	}, "--join", "a:8005", "--join", "b:8005,c:8005", "--insecure-cluster", "--cluster-listen", "0.0.0.0:8005", "--data-dir", "/data")
	if err != nil {
		t.Fatal(err)
	}
	want := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128"), netip.MustParsePrefix("192.168.0.1/32")}
	if diff := cmp.Diff(want, c.TrustedIPs(), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"a:8005", "b:8005", "c:8005"}, c.Join()); diff != "" {
		t.Error(diff)
	}
	got := []string{c.ProxyAccessLog(), c.AdminErrorLog(), c.AdminAccessLog(), c.ProxyErrorLog()}
	if diff := cmp.Diff([]string{"/dev/stdout", "/dev/stderr", "", "/var/log/e.log"}, got); diff != "" {
		t.Error(diff)
	}
	if notes := c.Notes(); len(notes) != 1 || !strings.Contains(notes[0], `proxy_error_log: "debug"`) {
		t.Errorf("notes: %q", notes)
	}
}

func TestProblems(t *testing.T) {
	tests := map[string]struct {
		file    string
		environ []string
		args    []string
		want    string
	}{
		"unknown key":           {"proxy_listne = off", nil, nil, "sluice.conf:1: unknown key proxy_listne, did you mean proxy_listen?"},
		"unknown key, far":      {"zebra = off", nil, nil, "sluice.conf:1: unknown key zebra"},
		"no value":              {"proxy_listen", nil, nil, `line 1: "proxy_listen" is not key = value`},
		"twice":                 {"join=a:1\njoin=b:1", nil, nil, "line 2: join was set on line 1 already"},
		"bad key":               {"proxy listen = off", nil, nil, `line 1: "proxy listen" is not a key`},
		"bool":                  {"", nil, []string{"--insecure-cluster=maybe"}, "insecure_cluster (flag --insecure-cluster): must be on or off"},
		"number":                {"", []string{"SLUICE_EXPECT=three"}, nil, "expect (SLUICE_EXPECT): must be a whole number from 0 to 99"},
		"choice":                {"", []string{"KONG_DATABASE=cassandra"}, nil, "database (KONG_DATABASE): must be one of off, postgres"},
		"network":               {"", []string{"KONG_TRUSTED_IPS=10.0.0.0/33"}, nil, `trusted_ips (KONG_TRUSTED_IPS): "10.0.0.0/33" is neither an address nor a CIDR block`},
		"syslog":                {"", []string{"KONG_PROXY_ERROR_LOG=syslog:server=x"}, nil, `proxy_error_log (KONG_PROXY_ERROR_LOG): "syslog:server=x" is not supported: give a path, /dev/stdout, /dev/stderr or off`},
		"listen":                {"", nil, []string{"--proxy-listen", "8000"}, `proxy_listen (flag --proxy-listen): "8000" is not host:port`},
		"certificate alone":     {"", nil, []string{"--ssl-cert", "a.pem"}, "ssl_cert names 1 files and ssl_cert_key 0: every certificate needs its key"},
		"expect alone":          {"", nil, []string{"--expect", "3"}, "expect needs join: the other nodes' addresses, the same line on every node"},
		"no cluster port":       {"", nil, []string{"--cluster-listen", ""}, "cluster_listen must be host:port"},
		"no data_dir":           {"", nil, []string{"--data-dir", ""}, "data_dir must not be empty"},
		"port wanted twice":     {"", nil, []string{"--proxy-listen", "127.0.0.1:8001"}, "proxy_listen and admin_listen both want 127.0.0.1:8001"},
		"port of all addresses": {"", nil, []string{"--proxy-listen", "0.0.0.0:8001"}, "proxy_listen 0.0.0.0:8001 and admin_listen 127.0.0.1:8001 want the same port"},
		"port of one listener":  {"", nil, []string{"--proxy-listen", "*:80, 127.0.0.1:80"}, "proxy_listen 0.0.0.0:80 and proxy_listen 127.0.0.1:80 want the same port"},
		"port of localhost":     {"", nil, []string{"--proxy-listen", "0.0.0.0:80", "--admin-listen", "localhost:80"}, "proxy_listen 0.0.0.0:80 and admin_listen localhost:80 want the same port"},
		"more than vote":        {"", nil, []string{"--join", "a", "--expect", "4", "--max-voters", "3"}, "expect 4 is more than the 3 voters that max_voters allows"},
		"seed is a URL":         {"", nil, []string{"--join", "b,http://a:1"}, `join (flag --join): "http://a:1" is neither host, host:port nor dns:NAME`},
		"seed without a host":   {"", nil, []string{"--join", "dns:"}, `join (flag --join): "dns:" is neither host, host:port nor dns:NAME`},
		"seed of two ports":     {"", nil, []string{"--join", "a:1:2"}, `join (flag --join): "a:1:2" is neither host, host:port nor dns:NAME`},
		"seed with a bad port":  {"", nil, []string{"--join", "a:0"}, `join (flag --join): "a:0" has no port from 1 to 65535`},
		"node's name":           {"", nil, []string{"--node-name", "node 1"}, "node_name (flag --node-name): must be up to 128 letters, digits, dots, dashes and underscores"},
		"no header's name":      {"", []string{"KONG_REAL_IP_HEADER=X Real"}, nil, `real_ip_header (KONG_REAL_IP_HEADER): "X Real" is not the name of a header`},
		"unknown header":        {"", []string{"KONG_HEADERS=server_token"}, nil, `headers (KONG_HEADERS): "server_token" is not known, did you mean server_tokens?`},
		"proxy protocol":        {"", []string{"KONG_REAL_IP_HEADER=proxy_protocol"}, nil, "real_ip_header is proxy_protocol and no address of proxy_listen has the flag proxy_protocol"},
		"proxy protocol, admin": {"", nil, []string{"--admin-listen", "127.0.0.1:8001 proxy_protocol"}, "admin_listen: the flag proxy_protocol is not supported for the Admin API"},
		"log format":            {"", []string{"KONG_PROXY_ACCESS_LOG=/dev/stdout jsno"}, nil, `proxy_access_log (KONG_PROXY_ACCESS_LOG): log format "jsno" is not known, did you mean json?; there are kong, combined, json`},
		"log format, admin":     {"", nil, []string{"--admin-access-log", "a kong"}, `admin_access_log (flag --admin-access-log): log format "kong" is not known`},
		"size":                  {"nginx_http_client_max_body_size = 8x", nil, nil, "sluice.conf:1): must be a size: bytes, or a number with k, m or g, like 8k"},
		"size of nothing":       {"", []string{"KONG_NGINX_PROXY_CLIENT_BODY_BUFFER_SIZE=0"}, nil, "nginx_proxy_client_body_buffer_size (KONG_NGINX_PROXY_CLIENT_BODY_BUFFER_SIZE): must be at least 1"},
		"time":                  {"", nil, []string{"--nginx-http-send-timeout", "60x"}, "nginx_http_send_timeout (flag --nginx-http-send-timeout): must be a time like 60s"},
		"no time":               {"", nil, []string{"--nginx-http-client-body-timeout", "0"}, "nginx_http_client_body_timeout (flag --nginx-http-client-body-timeout): must be more than 0"},
		"header buffers":        {"nginx_proxy_large_client_header_buffers = 16", nil, nil, "nginx_proxy_large_client_header_buffers"},
		"keepalive requests":    {"nginx_http_keepalive_requests = 0", nil, nil, "must be a whole number from 1 to"},
		"headers upstream":      {"headers_upstream = X-Kong-Request", nil, nil, `"X-Kong-Request" is not known, did you mean X-Kong-Request-Id?`},
		"name of old Kong":      {"client_max_body_size = 1m", nil, nil, "unknown key client_max_body_size, did you mean nginx_http_client_max_body_size?"},
		"reachable cluster":     {"", []string{"KONG_CLUSTER_LISTEN=0.0.0.0:8005"}, nil, "cluster_listen 0.0.0.0:8005 is reachable from other hosts"},
		"two faults":            {"", []string{"KONG_LOG_LEVEL=x", "KONG_DATABASE=x"}, nil, "database (KONG_DATABASE): must be one of off, postgres (and 1 more: sluice check lists them)"},
		"address with no port":  {"", nil, []string{"--cluster-listen", "localhost"}, `cluster_listen (flag --cluster-listen): "localhost" is not host:port`},
		"address with bad port": {"", nil, []string{"--cluster-listen", "localhost:port"}, `cluster_listen (flag --cluster-listen): "localhost:port" has no port from 0 to 65535`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := loaded(t, tt.file, tt.environ, tt.args...)
			var problems Problems
			if !errors.As(err, &problems) {
				t.Fatalf("error is %v, want Problems", err)
			}
			if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error:\n  %s\nwant:\n  %s", err, tt.want)
			}
		})
	}
}

// TestSharedPorts: addresses that can be listened on side by side are no fault.
func TestSharedPorts(t *testing.T) {
	for _, args := range [][]string{
		{"--proxy-listen", "0.0.0.0:80, [::]:80"},
		{"--proxy-listen", "127.0.0.1:80", "--admin-listen", "127.0.0.2:80"},
		{"--proxy-listen", "[::]:8001", "--cluster-listen", "127.0.0.1:8001", "--admin-listen", "off"},
		{"--proxy-listen", "0.0.0.0:0, 127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--cluster-listen", "127.0.0.1:0"},
		{"--proxy-listen", "0.0.0.0:80", "--admin-listen", "admin.example:80"},
	} {
		if _, err := loaded(t, "", nil, args...); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
}

// TestSeeds: whatever names a node.
func TestSeeds(t *testing.T) {
	text := "a, a:8005, 10.0.0.1, 10.0.0.1:80, ::1, [::1], [::1]:80, dns:gateways.local, dns:gateways.local:81, under_score"
	c, err := loaded(t, "", nil, "--join", text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(text, ", "), c.Join()); diff != "" {
		t.Error(diff)
	}
}

// TestKongsOwn: what was made for Kong is accepted and told once.
func TestKongsOwn(t *testing.T) {
	c, err := loaded(t, "admin_gui_listen = off\nnginx_http_lua_shared_dict = x 1m\n", []string{
		"KONG_PG_HOST=db", "KONG_NGINX_PROXY_PROXY_BUFFER_SIZE=8k", "KONG_PROXY_SERVICE_HOST=10.0.0.1", "SLUICE_PORT=tcp://10.0.0.2:80", "PATH=/bin", "KONG_STATUS_ACCESS_LOG=off",
	})
	if err != nil {
		t.Fatal(err)
	}
	notes := strings.Join(c.Notes(), "\n")
	for _, want := range []string{"KONG_PG_HOST", "KONG_NGINX_PROXY_PROXY_BUFFER_SIZE", "KONG_STATUS_ACCESS_LOG", "admin_gui_listen (", "nginx_http_lua_shared_dict ("} {
		if line := strings.Split(notes, "\n")[0]; !strings.Contains(line, want) || !strings.Contains(line, "not used") {
			t.Errorf("unused settings do not name %s: %s", want, line)
		}
	}
	if !strings.Contains(notes, "not known to Kong or Sluice: KONG_PROXY_SERVICE_HOST, SLUICE_PORT") || strings.Contains(notes, "PATH") {
		t.Errorf("notes:\n%s", notes)
	}
}

func TestFileIsNamed(t *testing.T) {
	if _, err := Load(Sources{File: filepath.Join(t.TempDir(), "none.conf")}); err == nil || !strings.Contains(err.Error(), "settings file: open") {
		t.Errorf("a file that was asked for and is missing: %v", err)
	}
	path := filepath.Join(t.TempDir(), "x.conf")
	if err := os.WriteFile(path, []byte("node_name = by-variable"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Sources{Environ: []string{"SLUICE_CONF=" + path}})
	if err != nil || c.NodeName() != "by-variable" || c.File() != path || c.Notes() != nil {
		t.Errorf("SLUICE_CONF: node_name %q, file %q, notes %q, error %v", c.NodeName(), c.File(), c.Notes(), err)
	}
}

// TestTable finds slips in the table itself.
func TestTable(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range Settings() {
		if seen[s.Name] {
			t.Errorf("%s is there twice", s.Name)
		}
		seen[s.Name] = true
		if slices.Contains(unusedKong(), s.Name) {
			t.Errorf("%s is listed as unused too", s.Name)
		}
		if s.Help == "" || strings.HasSuffix(s.Help, ".") {
			t.Errorf("%s: help text %q", s.Name, s.Help)
		}
		if Find(s.Name) == nil {
			t.Errorf("Find(%s) is nil", s.Name)
		}
	}
	if Find("nothing") != nil {
		t.Error("Find gives a setting that is not there")
	}
}
