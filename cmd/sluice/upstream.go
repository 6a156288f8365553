package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

// maxEcho is how much of a request's body the demo upstream shows.
const maxEcho = 1 << 20

func demoUpstreamCommand() *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use:   "demo-upstream",
		Short: "Run a service to stand behind the gateway",
		Long: `Demo-upstream answers every request with what it got: method, path, query,
headers and body, as JSON. GET /students gives a little list. It is for trying
the gateway and runs until it is interrupted.`,
		Example: `  sluice demo-upstream
  curl http://localhost:5000/anything`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM)
			defer stop()
			up, err := startDemoUpstream(ctx, listen)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "sluice: demo upstream at http://%s\n", up.addr)
			<-ctx.Done()
			return up.close()
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "localhost:5000", "host:port to listen on")
	return cmd
}

// demoUpstream is a running echo service.
type demoUpstream struct {
	addr   net.Addr
	server *http.Server
	served chan error
}

func startDemoUpstream(ctx context.Context, listen string) (*demoUpstream, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("demo upstream: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /students", serveStudents)
	mux.HandleFunc("/", serveEcho)
	up := &demoUpstream{addr: ln.Addr(), served: make(chan error, 1),
		server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}}
	go func() { up.served <- up.server.Serve(ln) }()
	return up, nil
}

// close stops the service and waits for it; requests in flight get a second.
func (u *demoUpstream) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if u.server.Shutdown(ctx) != nil {
		u.server.Close()
	}
	if err := <-u.served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("demo upstream: %w", err)
	}
	return nil
}

type student struct {
	ID   int    `json:"id"`
	Name string `json:"name"`
}

func serveStudents(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"students": []student{{1, "Ada"}, {2, "Grace"}, {3, "Edsger"}}})
}

func serveEcho(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEcho))
	if err != nil {
		writeJSON(w, http.StatusRequestEntityTooLarge, map[string]any{"message": err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{
		"method": r.Method, "host": r.Host, "path": r.URL.EscapedPath(), "query": r.URL.Query(),
		"headers": r.Header, "body": string(body), "served_by": hostname(),
	})
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return name
}
