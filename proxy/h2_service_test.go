package proxy

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// h2ServiceStream is a request to a service that speaks HTTP/2 frame by frame.
type h2ServiceStream struct {
	*http2.Framer
	id      uint32
	header  *http2.MetaHeadersFrame
	body    []byte
	trailer string
}

// frameService is a service without TLS: head is called with every head and end
// with every end of a request. Either may be nil.
func frameService(t testing.TB, head, end func(*h2ServiceStream)) string {
	ctx, cancel := context.WithCancel(context.Background())
	to := rawService(t, func(c net.Conn) {
		// The proxy keeps its connections for longer than a test.
		defer context.AfterFunc(ctx, func() { c.Close() })()
		if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		framer := http2.NewFramer(c, c)
		framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		if framer.WriteSettings() != nil {
			return
		}
		streams := map[uint32]*h2ServiceStream{}
		for {
			f, err := framer.ReadFrame()
			if err != nil {
				return
			}
			s := streams[f.Header().StreamID]
			ended := false
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() && framer.WriteSettingsAck() != nil {
					return
				}
			case *http2.PingFrame:
				if !f.IsAck() && framer.WritePing(true, f.Data) != nil {
					return
				}
			case *http2.MetaHeadersFrame:
				if ended = f.StreamEnded(); s == nil {
					s = &h2ServiceStream{Framer: framer, id: f.StreamID, header: f}
					streams[f.StreamID] = s
					if head != nil {
						head(s)
					}
				} else {
					for _, field := range f.Fields {
						s.trailer += field.Name + "=" + field.Value + " "
					}
				}
			case *http2.DataFrame:
				s.body = append(s.body, f.Data()...)
				ended = f.StreamEnded()
			}
			if ended && end != nil {
				end(s)
			}
		}
	})
	t.Cleanup(cancel)
	return to
}

// send sends a head; an error shows at the client.
func (s *h2ServiceStream) send(end bool, pairs ...string) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(pairs); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: strings.ToLower(pairs[i]), Value: pairs[i+1]}) // into memory
	}
	_ = s.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, EndHeaders: true, EndStream: end, BlockFragment: block.Bytes()})
}

// say sends a whole answer.
func (s *h2ServiceStream) say(status, body string) {
	s.send(false, ":status", status)
	_ = s.WriteData(s.id, true, []byte(body))
}
