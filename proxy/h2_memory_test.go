package proxy

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
)

// TestHTTP2KeepsNothingOfAnExchange: what an exchange hands to HTTP/2 stays in
// the header tables of its connection, on both sides, when the exchange has long
// been used for others.
func TestHTTP2KeepsNothingOfAnExchange(t *testing.T) {
	w, roots := secure(t)
	w.behind(func(rw http.ResponseWriter, r *http.Request) { fmt.Fprint(rw, r.Header.Get("X-Kong-Request-Id")) })
	client := protocolClient(t, roots, func(p *http.Protocols) { p.SetHTTP2(true) })
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				resp, err := client.Get("https://" + w.proxy.Addrs()[2].String() + "/r")
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				id := resp.Header.Get("X-Kong-Request-Id")
				mu.Lock()
				if err != nil || string(body) != id || len(id) != 32 || seen[id] {
					t.Errorf("answered %q to the request %q, seen before: %v; %v", id, body, seen[id], err)
				}
				seen[id] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}
