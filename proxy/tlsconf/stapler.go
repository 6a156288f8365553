package tlsconf

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	// atOnce is how many responders are asked at a time.
	atOnce = 4
	// patience is how often one host may fail in a pass before the others that
	// it is responsible for are put off without asking.
	patience = 2

	minRefresh = time.Minute
	maxRefresh = 12 * time.Hour
	minRetry   = time.Minute
	maxRetry   = time.Hour
)

// StaplerConfig is what a Stapler is made of. All of it may be left out.
type StaplerConfig struct {
	// Client asks the responders. Nil: a client of its own, with a timeout of
	// 10 s and the environment's proxy.
	Client *http.Client
	Logger *zap.Logger
	Now    func() time.Time
}

// Stapler keeps the OCSP staples of certificates that name a responder. A
// responder that fails costs nothing but the staple. Safe for concurrent use.
type Stapler struct {
	client *http.Client
	log    *zap.Logger
	now    func() time.Time

	mu      sync.Mutex
	watched map[*keyPair]*watched
	more    chan struct{} // holds one token when watched has new entries
}

// watched is what is known about the staple of one pair.
type watched struct {
	id       string // of the entity
	next     time.Time
	failures int
	err      error // of the last try
}

// NewStapler makes a Stapler, which does nothing until Run.
func NewStapler(cfg StaplerConfig) *Stapler {
	s := &Stapler{client: cfg.Client, log: cfg.Logger, now: cfg.Now, watched: map[*keyPair]*watched{}, more: make(chan struct{}, 1)}
	if s.client == nil {
		s.client = httpClient()
	}
	if s.log == nil {
		s.log = zap.NewNop()
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// watch makes these the certificates that are stapled. What is known of those
// that were watched before is kept.
func (s *Stapler) watch(certificates []*certificate) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[*keyPair]*watched)
	for _, c := range certificates {
		for _, p := range c.pairs {
			switch w := s.watched[p]; {
			case w != nil:
				next[p] = w
			case wantsStaple(p):
				next[p] = &watched{id: c.id}
			case mustStaple(p.bare.Leaf):
				next[p] = &watched{id: c.id, next: s.now().AddDate(100, 0, 0), err: errors.New("it names no responder")}
			}
		}
	}
	s.watched = next
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// Run keeps the staples until ctx is done.
func (s *Stapler) Run(ctx context.Context) {
	defer s.client.CloseIdleConnections()
	for ctx.Err() == nil {
		wait := min(max(s.pass(ctx).Sub(s.now()), time.Second), time.Hour)
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-s.more:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// Problems gives the certificates that are revoked, or that clients refuse for
// want of a staple.
func (s *Stapler) Problems() []Problem {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ps []Problem
	for p, w := range s.watched {
		switch {
		case errors.Is(w.err, ErrRevoked):
			ps = append(ps, Problem{"certificates", w.id, w.err})
		case mustStaple(p.bare.Leaf) && w.err != nil && !p.stapled(s.now()):
			ps = append(ps, Problem{"certificates", w.id, fmt.Errorf("%w: %w", ErrMustStaple, w.err)})
		}
	}
	slices.SortFunc(ps, func(a, b Problem) int { return cmp.Compare(a.ID, b.ID) })
	return ps
}

// pass asks about every pair whose time has come, and says when the next one's
// comes.
func (s *Stapler) pass(ctx context.Context) time.Time {
	var (
		wg    sync.WaitGroup
		slots = make(chan struct{}, atOnce)
		hosts = &patient{failed: map[string]int{}}
	)
	for _, p := range s.due() {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			defer func() { <-slots }()
			s.refresh(ctx, p, hosts)
		})
	}
	wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.now().Add(time.Hour)
	for _, w := range s.watched {
		if w.next.Before(next) {
			next = w.next
		}
	}
	return next
}

func (s *Stapler) due() []*keyPair {
	s.mu.Lock()
	defer s.mu.Unlock()
	var due []*keyPair
	for p, w := range s.watched {
		if !w.next.After(s.now()) {
			due = append(due, p)
		}
	}
	return due
}

// refresh asks about one pair. The old staple stays until its end if that fails;
// a revoked certificate loses it at once.
func (s *Stapler) refresh(ctx context.Context, p *keyPair, hosts *patient) {
	host := hostOf(p.bare.Leaf.OCSPServer[0])
	var answer []byte
	var until time.Time
	err := hosts.exhausted(host)
	if err == nil {
		answer, until, err = ask(ctx, s.client, p, s.now())
		hosts.told(host, err)
	}
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.watched[p]
	switch {
	case w == nil: // deleted meanwhile
	case err == nil:
		p.setStaple(answer, until)
		if w.err != nil {
			s.log.Info("certificate is stapled again", zap.String("certificate", w.id))
		}
		w.failures, w.err = 0, nil
		w.next = s.now().Add(min(max(until.Sub(s.now())/2, minRefresh), maxRefresh))
	default:
		if errors.Is(err, ErrRevoked) {
			p.staple.Store(nil)
		}
		if w.err == nil { // said once, not at every try
			s.log.Warn("certificate has no fresh OCSP staple", zap.String("certificate", w.id),
				zap.Bool("must_staple", mustStaple(p.bare.Leaf)), zap.Error(err))
		}
		w.err = err
		w.next = s.now().Add(min(minRetry<<min(w.failures, 10), maxRetry))
		w.failures++
	}
}

func hostOf(responder string) string {
	if u, err := url.Parse(responder); err == nil {
		return u.Host
	}
	return responder
}

// patient counts the failures of hosts in one pass, so that a dead responder of
// many certificates does not hold up those of others.
type patient struct {
	mu     sync.Mutex
	failed map[string]int
}

var errExhausted = errors.New("its responder failed for others")

func (p *patient) exhausted(host string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed[host] >= patience {
		return errExhausted
	}
	return nil
}

func (p *patient) told(host string, err error) {
	var unreachable *url.Error // what http.Client.Do gives
	if !errors.As(err, &unreachable) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failed[host]++
}
