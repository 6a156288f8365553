//go:build !linux

package proxy

import (
	"context"
	"net"
)

// eventLoops is nothing on systems without epoll: net/http serves HTTP/1.1.
type eventLoops struct{}

func (*eventLoops) start(*Proxy) error          { return nil }
func (*eventLoops) drain(context.Context) error { return nil }
func (*eventLoops) close() error                { return nil }
func (*eventLoops) keep([]*route)               {}
func (*eventLoops) front(p *Proxy, of Listener, ln net.Listener) listenerFront {
	return newHTTPFront(p, of, ln)
}
