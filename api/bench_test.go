package api

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/sluicegate/sluice/fsm"
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

// BenchmarkListConsumers is a page of 1,000 of 100,000 consumers, each of which has a key.
func BenchmarkListConsumers(b *testing.B) {
	const n, each = 100_000, 5000
	h := newHarness(b, nil)
	for from := 0; from < n; from += each {
		var ops []fsm.Op
		for i := from; i < from+each; i++ {
			id, key := fmt.Sprintf("%08x-1111-4111-8111-%012d", uint32(i)*2654435761, i), fmt.Sprintf("%08x-2222-4222-8222-%012d", uint32(i)*2246822519, i)
			ops = append(ops,
				fsm.Op{Verb: fsm.Create, Kind: "consumers", ID: id, Raw: fmt.Appendf(nil,
					`{"created_at":1700000000,"custom_id":null,"id":%q,"tags":null,"updated_at":1700000000,"username":"user-%06d"}`, id, i)},
				fsm.Op{Verb: fsm.Create, Kind: "keyauth_credentials", ID: key, Raw: fmt.Appendf(nil,
					`{"consumer":{"id":%q},"created_at":1700000000,"id":%q,"key":"k%032d","tags":null,"ttl":null}`, id, key, i)})
		}
		if r, err := h.cluster.apply(fsm.NewWrite("", 0, ops...)); err != nil || r.Err != nil {
			b.Fatal(err, r)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/consumers?size=1000", nil)
	handler, w := h.api.Handler(), &discardWriter{}
	b.ReportAllocs()
	for b.Loop() {
		w.header = make(http.Header)
		handler.ServeHTTP(w, r)
	}
	if w.status != http.StatusOK {
		b.Fatalf("status %d", w.status)
	}
}

func BenchmarkGetSchema(b *testing.B) { benchmarkGet(b, "/schemas/routes", 1) }
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
