package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/template"
)

// nginxConf is bare nginx: it sets no header but Connection, which keeping
// connections to the service needs. What is tuned is what would cost it
// something here: connections are kept without end, buffers hold an answer of
// 100 KB, so that none goes to a file.
var nginxConf = template.Must(template.New("nginx.conf").Parse(`
{{- if .Root}}user root;
{{end -}}
worker_processes {{len .Cores}};
worker_rlimit_nofile {{.OpenFiles}};
error_log {{.Dir}}/error.log warn;
pid {{.Dir}}/nginx.pid;
events { worker_connections 12000; }
http {
  access_log {{if .AccessLog}}{{.Dir}}/access.log combined{{else}}off{{end}};
  client_body_temp_path {{.Dir}}/client_body;
  proxy_temp_path {{.Dir}}/proxy;
  fastcgi_temp_path {{.Dir}}/fastcgi;
  uwsgi_temp_path {{.Dir}}/uwsgi;
  scgi_temp_path {{.Dir}}/scgi;
  tcp_nodelay on;
  keepalive_requests 1000000000;
  keepalive_timeout 3600s;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  proxy_buffer_size 4k;
  proxy_buffers 16 16k;
  proxy_max_temp_file_size 0;
  upstream service {
    server {{.Service}};
    keepalive 256;
    keepalive_requests 1000000000;
    keepalive_timeout 3600s;
  }
  server {
    listen {{.Plain}} reuseport backlog=4096;
    listen {{.TLS}} ssl http2 reuseport backlog=4096;
    ssl_certificate {{.CertFile}};
    ssl_certificate_key {{.KeyFile}};
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256;
{{- range .Routes}}
    location {{.}} { proxy_pass http://service; }
{{- end}}
    location / { return 404; }
  }
}
`))

func startNginx(ctx context.Context, b *bench, s setup) (*target, error) {
	t, err := b.newTarget("nginx", s)
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(t.dir, "nginx.conf")
	if err := b.render(nginxConf, conf, t, s); err != nil {
		return nil, err
	}
	cmd := exec.Command(b.tools.nginx, "-p", t.dir, "-c", conf, "-g", "daemon off;")
	// SIGTERM, at which the master ends its workers; they would outlive a killed one.
	if err := b.launch(ctx, t, cmd, s, syscall.SIGTERM); err != nil {
		return nil, err
	}
	return t, nil
}

// openFiles is the limit that nginx may give itself.
func openFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 1024
	}
	return min(limit.Max, 1<<16)
}

func isRoot() bool { return os.Geteuid() == 0 }
