package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
)

// failures makes the interop tests' way to fail, a fatal line of the log, that
// of the test which runs.
type failures struct {
	grpclog.LoggerV2
	mu sync.Mutex
	t  *testing.T
}

func (f *failures) set(t *testing.T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.t = t
}

func (f *failures) current() *testing.T {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.t
}

func (f *failures) Fatal(args ...any)                 { f.current().Fatal(args...) }
func (f *failures) Fatalln(args ...any)               { f.current().Fatal(args...) }
func (f *failures) Fatalf(format string, args ...any) { f.current().Fatalf(format, args...) }

// interopFailures is set before any connection of gRPC's exists: setting it is
// not safe for concurrent use.
var interopFailures = &failures{LoggerV2: grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)}

func init() { grpclog.SetLoggerV2(interopFailures) }

// grpcService runs a gRPC server and gives its address.
func grpcService(t testing.TB, server *grpc.Server) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(ln) }) // ends with Stop
	t.Cleanup(func() {
		server.Stop()
		serving.Wait()
	})
	return ln.Addr().String()
}

func grpcClient(t testing.TB, addr string, roots *x509.CertPool) *grpc.ClientConn {
	t.Helper()
	creds := insecure.NewCredentials()
	if roots != nil {
		creds = credentials.NewTLS(&tls.Config{RootCAs: roots, ServerName: "example.com"})
	}
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// TestGRPCInterop runs gRPC's own interop client and server with the gateway
// between them: h2c on both sides, and TLS on both sides.
func TestGRPCInterop(t *testing.T) {
	certificate, _ := certified(t)
	for _, c := range []struct {
		scheme   string
		listener int
	}{{"grpc", 3}, {"grpcs", 2}} {
		t.Run(c.scheme, func(t *testing.T) {
			w, roots := secure(t)
			w.start()
			var options []grpc.ServerOption
			if c.scheme == "grpcs" {
				options = append(options, grpc.Creds(credentials.NewServerTLSFromCert(&certificate)))
			} else {
				roots = nil
			}
			server := grpc.NewServer(options...)
			testgrpc.RegisterTestServiceServer(server, interop.NewTestServer())
			to := w.service("http://"+grpcService(t, server), object{"protocol": c.scheme})
			w.route(to, object{"paths": []string{"/"}, "strip_path": false, "protocols": []string{"grpc", "grpcs"}})
			conn := grpcClient(t, w.proxy.Addrs()[c.listener].String(), roots)
			runInterop(t, conn)
		})
	}
}

func runInterop(t *testing.T, conn *grpc.ClientConn) {
	client := testgrpc.NewTestServiceClient(conn)
	none := testgrpc.NewUnimplementedServiceClient(conn)
	type test func(context.Context, testgrpc.TestServiceClient, ...grpc.CallOption)
	for name, run := range map[string]test{
		"empty unary":                 interop.DoEmptyUnaryCall,
		"large unary":                 interop.DoLargeUnaryCall,
		"client streaming":            interop.DoClientStreaming,
		"server streaming":            interop.DoServerStreaming,
		"ping pong":                   interop.DoPingPong,
		"empty stream":                interop.DoEmptyStream,
		"timeout on sleeping server":  interop.DoTimeoutOnSleepingServer,
		"cancel after begin":          interop.DoCancelAfterBegin,
		"cancel after first response": interop.DoCancelAfterFirstResponse,
		"custom metadata":             interop.DoCustomMetadata,
		"status code and message":     interop.DoStatusCodeAndMessage,
		"special status message":      interop.DoSpecialStatusMessage,
		"unimplemented service": func(ctx context.Context, _ testgrpc.TestServiceClient, _ ...grpc.CallOption) {
			interop.DoUnimplementedService(ctx, none)
		},
		"unimplemented method": func(ctx context.Context, _ testgrpc.TestServiceClient, _ ...grpc.CallOption) {
			interop.DoUnimplementedMethod(ctx, conn)
		},
	} {
		t.Run(name, func(t *testing.T) {
			interopFailures.set(t)
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			defer cancel()
			run(ctx, client)
		})
	}
}
