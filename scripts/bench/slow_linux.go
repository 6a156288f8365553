package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/sluicegate/sluice/scripts/bench/load"
)

const (
	slowConns   = 2000 // half dribble a head, half a body
	deafConns   = 20   // ask for much and read nothing
	slowRounds  = 1000 // to a second; in each a thousandth of the slow ones say a byte
	slowTimeout = 5 * time.Second
)

// slowClients are the connections of a slowloris, which say a byte a second
// each.
type slowClients struct {
	dribbling []net.Conn
	deaf      []net.Conn
}

// sampleSlowloris measures the load among slow clients. It is compared with
// what the same proxy does without them.
func sampleSlowloris(ctx context.Context, b *bench, w *work, t *target) (*sample, error) {
	slow, err := openSlow(ctx, t.plain, w.paths(t)[0])
	defer slow.close()
	if err != nil {
		return nil, err
	}
	loadCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := slow.dribble(loadCtx)
		if err != nil {
			cancel()
		}
		done <- err
	}()
	s, err := sampleLoad(loadCtx, b, w, t)
	cancel()
	if fault := <-done; fault != nil {
		return nil, fault
	}
	return s, err
}

// openSlow gives what it has opened also with an error.
func openSlow(ctx context.Context, address, path string) (*slowClients, error) {
	const host = " HTTP/1.1\r\nHost: " + serverName + "\r\n"
	head := []byte("GET " + path + load.SmallName + host + "X-Slow: ")
	body := fmt.Appendf(nil, "POST %s%sContent-Length: %d\r\n\r\n", path+load.EchoName, host, len(load.EchoBody()))
	// More than the sockets on the way hold.
	much := bytes.Repeat([]byte("GET "+path+load.LargeName+host+"\r\n"), 200)
	s := &slowClients{}
	dialer := net.Dialer{Timeout: slowTimeout}
	open := func(first []byte) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		// Closed with a reset: none is left in TIME_WAIT for the next sample.
		return c, errors.Join(c.(*net.TCPConn).SetLinger(0), c.SetDeadline(time.Now().Add(slowTimeout)), say(c, first))
	}
	for i := range slowConns + deafConns {
		first, list := head, &s.dribbling
		switch {
		case i >= slowConns:
			first, list = much, &s.deaf
		case i%2 == 1:
			first = body
		}
		c, err := open(first)
		if c != nil {
			*list = append(*list, c)
		}
		if err != nil {
			return s, fmt.Errorf("slow client %d: %w", i, err)
		}
	}
	return s, nil
}

func say(c net.Conn, text []byte) error {
	_, err := c.Write(text)
	return err
}

// dribble goes on until the context ends. That a slow client is cut meanwhile is
// an error: fewer would be measured than the table says.
func (s *slowClients) dribble(ctx context.Context) error {
	ticker := time.NewTicker(time.Second / slowRounds)
	defer ticker.Stop()
	for round := 0; ; round++ {
		for i := round % slowRounds; i < len(s.dribbling); i += slowRounds {
			c := s.dribbling[i]
			if err := errors.Join(c.SetDeadline(time.Now().Add(slowTimeout)), say(c, []byte("x"))); err != nil {
				return fmt.Errorf("slow client %d: %w", i, err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (s *slowClients) close() {
	for _, list := range [][]net.Conn{s.dribbling, s.deaf} {
		for _, c := range list {
			_ = c.Close() // with a reset
		}
	}
}
