package upstream

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/sluicegate/sluice/proxy/http1"
)

// lateTrailer is a request's trailer for net/http, which wants the names that
// are announced in a map before the body, and looks for the values in the same
// map after it. For another try it reads the map again, while the body may still
// be read for the one before: so only the last try may write to it. Nil is no
// trailer. Safe for concurrent use, but for fields.
type lateTrailer struct {
	fields http.Header
	from   func() *http1.Fields

	mu    sync.Mutex
	tries int64
	whole bool
}

func newLateTrailer(req *Request) *lateTrailer {
	l := &lateTrailer{fields: http.Header{}, from: req.Trailer}
	for name := range strings.SplitSeq(req.Header.Joined("Trailer"), ",") {
		if name = strings.TrimSpace(name); http1.InTrailer(name) {
			l.fields[http.CanonicalHeaderKey(strings.Clone(name))] = nil
		}
	}
	return l
}

// again gives the number of a further try.
func (l *lateTrailer) again() int64 {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tries++
	return l.tries
}

// ended puts the values in once the body has ended for the last try. They are in
// memory of their own, as ownHeader's are.
func (l *lateTrailer) ended(try int64, err error) {
	if l == nil || !errors.Is(err, io.EOF) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if try != l.tries || l.whole {
		return
	}
	l.whole = true
	fields := l.from()
	for i := range fields.Len() {
		f := fields.At(i)
		l.fields.Add(strings.Clone(f.Name), strings.Clone(f.Value))
	}
}
