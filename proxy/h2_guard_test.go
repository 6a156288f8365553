package proxy

import (
	"testing"
	"time"
)

func frameHead(kind, flags byte, length int) []byte {
	return []byte{byte(length >> 16), byte(length >> 8), byte(length), kind, flags, 0, 0, 0, 1}
}

// TestGuardLeavesClientsAlone: what clients do that fetch something, for as
// long as they like and without the time having passed.
func TestGuardLeavesClientsAlone(t *testing.T) {
	type frame struct {
		kind   byte
		length int
	}
	const ping, windowUpdate = 0x6, 0x8
	for name, c := range map[string]struct {
		in   []frame
		sent int // bytes of answers
	}{
		"requests":            {in: []frame{{frameHeaders, 30}}},
		"gRPC with pings":     {in: []frame{{frameHeaders, 100}, {frameData, 20}, {ping, 8}}, sent: 150},
		"gRPC stream":         {in: []frame{{frameData, 20}, {ping, 8}}, sent: 64},
		"half are cancelled":  {in: []frame{{frameHeaders, 30}, {frameHeaders, 30}, {frameResetStream, 4}}},
		"download":            {in: []frame{{windowUpdate, 4}, {windowUpdate, 4}}, sent: 1024},
		"upload":              {in: []frame{{frameData, 16384}}},
		"slow small messages": {in: []frame{{frameData, 1}}},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			now := func() time.Time { return start }
			g := newFrameGuard(start)
			g.received(make([]byte, prefaceSize), now)
			for range 100_000 {
				g.sent(append(frameHead(frameData, 0, c.sent), make([]byte, c.sent)...))
				for _, f := range c.in {
					if !g.received(append(frameHead(f.kind, 0, f.length), make([]byte, f.length)...), now) {
						t.Fatal("cut")
					}
				}
			}
		})
	}
}

// FuzzFrameScanner: frames are found wherever the pieces are cut.
func FuzzFrameScanner(f *testing.F) {
	f.Add([]byte("\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x01\x01\x00\x00\x00\x01"), uint8(3))
	f.Add([]byte("\x00\x00"), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, size uint8) {
		type found struct {
			kind, flags byte
			length      int
		}
		var whole, pieces []found
		var a, b frameScanner
		a.scan(data, func(k, fl byte, n int) { whole = append(whole, found{k, fl, n}) })
		step := int(size%16) + 1
		for rest := data; len(rest) > 0; rest = rest[min(step, len(rest)):] {
			b.scan(rest[:min(step, len(rest))], func(k, fl byte, n int) { pieces = append(pieces, found{k, fl, n}) })
		}
		if len(whole) != len(pieces) {
			t.Fatalf("%v, in pieces %v", whole, pieces)
		}
		for i := range whole {
			if whole[i] != pieces[i] {
				t.Fatalf("%v, in pieces %v", whole, pieces)
			}
		}
		var at, count int
		for ; at+frameHeadSize <= len(data); count++ {
			at += frameHeadSize + int(data[at])<<16 + int(data[at+1])<<8 + int(data[at+2])
		}
		if count != len(whole) {
			t.Fatalf("%d frames, found %d", count, len(whole))
		}
	})
}
