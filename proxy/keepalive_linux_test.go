package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/sluicegate/sluice/proxy/plugin"
)

// TestRefusedBodyKeepsConnection: a request that a plugin answers does not end
// the connection if its body came with it.
func TestRefusedBodyKeepsConnection(t *testing.T) {
	w := newWorld(t)
	w.hook("no", accessHook(func(ex *plugin.Exchange) plugin.Verdict { return ex.Exit(401, "no") }))
	route := w.route("", object{"paths": []string{"/r"}})
	w.put("plugins", object{"name": "test-auth", "enabled": true, "route": object{"id": route},
		"protocols": []string{"http", "https"}, "config": object{"hook": "no"}})
	w.start()
	c, err := net.Dial("tcp", w.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for range 3 {
		if _, err := io.WriteString(c, "POST /r HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != 401 || resp.Close {
			t.Errorf("status %d, close %v: %v", resp.StatusCode, resp.Close, err)
		}
	}
}
