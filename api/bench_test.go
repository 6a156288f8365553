package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// discardWriter is a client that reads nothing.
type discardWriter struct {
	header http.Header
	status int
}

func (w *discardWriter) Header() http.Header         { return w.header }
func (w *discardWriter) Write(b []byte) (int, error) { return len(b), nil }
func (w *discardWriter) WriteHeader(status int)      { w.status = status }

func benchmarkGet(b *testing.B, path string, routes int) {
	h := newHarness(b, nil)
	h.must(201, "POST", "/services", "name=s&host=h.test")
	for i := range routes {
		h.must(201, "POST", "/services/s/routes", fmt.Sprintf("name=r%d&paths=/p%d&methods=GET&tags=t", i, i))
	}
	r := httptest.NewRequest(http.MethodGet, path, nil)
	handler := h.api.Handler()
	w := &discardWriter{}
	b.ReportAllocs()
	for b.Loop() {
		w.header = make(http.Header)
		handler.ServeHTTP(w, r)
	}
	if w.status != http.StatusOK {
		b.Fatalf("status %d", w.status)
	}
}

func BenchmarkGetItem(b *testing.B)    { benchmarkGet(b, "/routes/r0", 1) }
func BenchmarkList1000(b *testing.B)   { benchmarkGet(b, "/routes?size=1000", 1000) }
func BenchmarkListTagged(b *testing.B) { benchmarkGet(b, "/routes?size=100&tags=t", 1000) }
func BenchmarkListNested(b *testing.B) { benchmarkGet(b, "/services/s/routes?size=100", 1000) }
func BenchmarkGetSchema(b *testing.B)  { benchmarkGet(b, "/schemas/routes", 1) }
func BenchmarkFormDecode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := formBody(parseForm("name=r&paths[]=/a&paths[]=/b&config.headers.x-a[]=1&service.name=s")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPost(b *testing.B) {
	h := newHarness(b, nil)
	b.ReportAllocs()
	for b.Loop() {
		if r := h.json("POST", "/services", `{"host":"h.test","path":"/x"}`); r.status != 201 {
			b.Fatalf("%d %s", r.status, r.body)
		}
	}
}
