//go:build linux

package proxy

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestSwapsUnderLoad: no request fails while a configuration of 1,000 routes, and
// the service that all of them lead to, change again and again.
func TestSwapsUnderLoad(t *testing.T) {
	w := serving(t, echo)
	service := serviceID(w)
	for i := range 1000 {
		w.apply(w.op("routes", object{
			"protocols": []string{"http", "https"}, "strip_path": true, "path_handling": "v0", "https_redirect_status_code": 426,
			"request_buffering": true, "response_buffering": true, "paths": []string{fmt.Sprintf("/n%d", i)}, "service": object{"id": service},
		}))
	}
	w.route(service, object{"paths": []string{"/last"}})
	var stop atomic.Bool
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			c := w.dial(0)
			for i := n; !stop.Load(); i += 8 {
				c.say(fmt.Sprintf("POST /n%d/%d HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", i%1000, i))
				if a := c.hear("POST"); a.status != 200 || !strings.Contains(a.body, fmt.Sprintf(" /%d ", i)) {
					t.Errorf("%+v", a)
					return
				}
			}
		})
	}
	for i := range 30 {
		w.route(service, object{"paths": []string{fmt.Sprintf("/more%d", i)}})
	}
	stop.Store(true)
	wg.Wait()
}
