//go:build !linux

package proxy

import (
	"context"
	"fmt"
	"net"

	"github.com/sluicegate/sluice/proxy/upstream"
)

// eventLoops is nothing on systems without epoll: net/http serves HTTP/1.1.
type eventLoops struct{}

func (*eventLoops) start(p *Proxy) error {
	if p.cfg.EventLoop == EventLoopRing {
		return fmt.Errorf("%w: io_uring is Linux's", ErrConfig)
	}
	for _, l := range p.cfg.Listen {
		if l.ProxyProtocol {
			return fmt.Errorf("%w: listener %s: the PROXY protocol needs event loops", ErrConfig, l.Address)
		}
	}
	return nil
}

func (*eventLoops) front(p *Proxy, of Listener, ln net.Listener) listenerFront {
	return newHTTPFront(p, of, ln)
}

func (*eventLoops) drain(context.Context) error     { return nil }
func (*eventLoops) close() error                    { return nil }
func (*eventLoops) keep(func(upstream.Target) bool) {}
