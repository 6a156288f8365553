package machine

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// LastingAddresses gives addresses of loopback on which nobody listens, below the ports
// that the kernel gives to clients (32768 and above unless it is told otherwise): one of
// those could take the port of a process that was killed before it is started again.
func LastingAddresses(n int) ([]string, error) {
	const first, end, tries = 10_000, 32_768, 1000
	var addrs []string
	for range tries {
		if len(addrs) == n {
			return addrs, nil
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+rand.IntN(end-first)))
		if err != nil {
			continue // taken
		}
		defer func() { _ = l.Close() }() // all at the end, so that none comes twice
		addrs = append(addrs, l.Addr().String())
	}
	return nil, fmt.Errorf("fewer than %d ports of %d to %d are free", n, first, end-1)
}
