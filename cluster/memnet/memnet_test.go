package memnet

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		ln, packets, err := n.Host("10.0.0.1").Listen("10.0.0.1:8005")
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := n.Host("10.0.0.1").Listen("10.0.0.1:8005"); err == nil {
			t.Error("a port was taken twice")
		}
		_, from, err := n.Host("10.0.0.2").Listen("10.0.0.2:0")
		if err != nil {
			t.Fatal(err)
		}
		accepted := make(chan net.Conn, 1)
		go func() {
			c, err := ln.Accept()
			if err != nil {
				t.Error(err)
			}
			accepted <- c
		}()
		near, err := n.Host("10.0.0.2").Dial(t.Context(), "10.0.0.1:8005")
		if err != nil {
			t.Fatal(err)
		}
		far := <-accepted

		n.Partition([]string{"10.0.0.1"}, []string{"10.0.0.2"})
		if err := near.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := near.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("write across the partition: %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := n.Host("10.0.0.2").Dial(ctx, "10.0.0.1:8005"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial across the partition: %v", err)
		}
		send(t, from, packets.LocalAddr(), "lost")

		n.Heal()
		send(t, from, packets.LocalAddr(), "arrives")
		buf := make([]byte, 16)
		if k, at, err := packets.ReadFrom(buf); err != nil || string(buf[:k]) != "arrives" || at.String() != from.LocalAddr().String() {
			t.Errorf("packet %q from %v, %v", buf[:k], at, err)
		}
		if err := near.SetWriteDeadline(time.Time{}); err != nil {
			t.Fatal(err)
		}
		go func() {
			if _, err := near.Write([]byte("y")); err != nil {
				t.Error(err)
			}
		}()
		if _, err := far.Read(buf[:1]); err != nil || buf[0] != 'y' {
			t.Errorf("read %q, %v", buf[:1], err)
		}
		if err := errors.Join(near.Close(), far.Close(), ln.Close(), packets.Close(), from.Close()); err != nil {
			t.Error(err)
		}
		if _, err := n.Host("10.0.0.2").Dial(t.Context(), "10.0.0.1:8005"); !errors.Is(err, ErrRefused) {
			t.Errorf("dial of a closed port: %v", err)
		}
	})
}

func TestLoss(t *testing.T) {
	n := New(7)
	_, a, err := n.Host("10.0.0.1").Listen("10.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	_, b, err := n.Host("10.0.0.2").Listen("10.0.0.2:1")
	if err != nil {
		t.Fatal(err)
	}
	n.Lose(0.5)
	for range packetQueue {
		send(t, a, b.LocalAddr(), "x")
	}
	if got := len(b.(*packetConn).in); got < packetQueue/3 || got > packetQueue*2/3 {
		t.Errorf("%d of %d packets arrived, half were to be lost", got, packetQueue)
	}
}

func send(t *testing.T, from net.PacketConn, to net.Addr, text string) {
	t.Helper()
	if _, err := from.WriteTo([]byte(text), to); err != nil {
		t.Fatal(err)
	}
}
