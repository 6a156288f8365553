package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"text/template"
)

// haproxyConf logs, if it does, to standard output, which is a file: haproxy
// opens none itself. Without strict-limits it starts where the limit of open
// files is below the two for each of maxconn that it reckons with.
var haproxyConf = template.Must(template.New("haproxy.cfg").Parse(`global
  nbthread {{len .Cores}}
  maxconn 12000
  no strict-limits
{{- if .AccessLog}}
  log stdout format raw local0
{{- end}}
defaults
  mode http
  timeout connect 5s
  timeout client 3600s
  timeout server 3600s
  timeout http-keep-alive 3600s
  option http-keep-alive
  http-reuse always
{{- if .AccessLog}}
  log global
  option httplog
{{- end}}
frontend bench
  bind {{.Plain}}
  bind {{.TLS}} ssl crt {{.PEMFile}} alpn h2,http/1.1 ssl-min-ver TLSv1.3 ciphersuites TLS_AES_128_GCM_SHA256
{{- range .Routes}}
  use_backend service if { path_beg {{.}} }
{{- end}}
  default_backend nothing
backend service
  server service {{.Service}}
backend nothing
  http-request return status 404
`))

func startHaproxy(ctx context.Context, b *bench, s setup) (*target, error) {
	t, err := b.newTarget("haproxy", s)
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(t.dir, "haproxy.cfg")
	if err := b.render(haproxyConf, conf, t, s); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(t.dir, "output"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(b.tools.haproxy, "-db", "-f", conf)
	cmd.Stdout, cmd.Stderr = log, log
	if err := b.launch(ctx, t, cmd, s, syscall.SIGKILL); err != nil {
		return nil, err
	}
	return t, nil
}
