package proxy

import (
	"context"
	"net"

	"github.com/sluicegate/sluice/proxy/upstream"
)

// eventLoops is the engine for HTTP/1.1 of this system.
type eventLoops struct{ engine *engine }

func (l *eventLoops) start(p *Proxy) (err error) {
	l.engine, err = newEngine(p)
	return err
}

func (l *eventLoops) front(_ *Proxy, of Listener, ln net.Listener) listenerFront {
	return newEventFront(l.engine, of, ln)
}

func (l *eventLoops) drain(ctx context.Context) error {
	if l.engine == nil {
		return nil
	}
	return l.engine.drain(ctx)
}

func (l *eventLoops) close() error {
	if l.engine == nil {
		return nil
	}
	return l.engine.close()
}

// keep lets go of the connections to services that are not wanted any more.
func (l *eventLoops) keep(wanted func(upstream.Target) bool) {
	if l.engine != nil {
		l.engine.links.Keep(wanted)
	}
}
