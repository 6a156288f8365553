package escrow

import (
	"sync"

	"github.com/sluicegate/sluice/limiter/ledger"
)

// mailbox is what shards have to say to the log and to other nodes.
type mailbox struct {
	mu   sync.Mutex
	pool []*hunt // wait to ask the pool
	// returns are tokens that nobody has used and the pool may have again.
	returns []ledger.Ask
	asks    map[string][]*hunt // wait to ask a node
	fresh   []ledger.Budget    // dirty cells of small budgets
	slow    []ledger.Budget    // and of others, not told yet in this while
	// down says until when nodes are not asked, because they did not answer. They
	// are in it until they are heard of.
	down map[string]int64
}

// maxNews bounds the budgets that wait to be told of; of others the nodes hear
// when they ask.
const maxNews = 1 << 14

// maxReturns bounds what waits to be given back; the rest is lost.
const maxReturns = 1 << 16

func (b *mailbox) ask(node string, h *hunt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asks == nil {
		b.asks = map[string][]*hunt{}
	}
	b.asks[node] = append(b.asks[node], h)
}

func (b *mailbox) askPool(h *hunt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pool = append(b.pool, h)
}

// giveBack takes note of tokens that the pool is to have again, if there is room.
func (b *mailbox) giveBack(a ledger.Ask) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.returns) < maxReturns {
		b.returns = append(b.returns, a)
	}
}

// mayGiveBack says whether there is room for more, givesBack whether something
// waits.
func (b *mailbox) mayGiveBack() bool { return b.returning() < maxReturns }
func (b *mailbox) givesBack() bool   { return b.returning() > 0 }

func (b *mailbox) returning() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.returns)
}

// takeReturns gives at most n of them.
func (b *mailbox) takeReturns(n int) []ledger.Ask {
	b.mu.Lock()
	defer b.mu.Unlock()
	return cut(&b.returns, n)
}

// takePool gives at most n of those who wait for the pool.
func (b *mailbox) takePool(n int) []*hunt {
	b.mu.Lock()
	defer b.mu.Unlock()
	return cut(&b.pool, n)
}

// takeAsks gives at most n of those who wait to ask a node.
func (b *mailbox) takeAsks(node string, n int) []*hunt {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := b.asks[node]
	if len(list) == 0 {
		return nil
	}
	taken := cut(&list, n)
	if len(list) == 0 {
		delete(b.asks, node)
	} else {
		b.asks[node] = list
	}
	return taken
}

// asked returns the nodes that somebody waits to ask.
func (b *mailbox) asked(nodes []string) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for node := range b.asks {
		nodes = append(nodes, node)
	}
	return nodes
}

// setDown has a node not be asked for a while.
func (b *mailbox) setDown(node string, until int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.down == nil {
		b.down = map[string]int64{}
	}
	b.down[node] = until
}

// state says whether a node is away: it did not answer, and has not been heard of
// since; and if it is, whether it is down: not to be asked now.
func (b *mailbox) state(node string, now int64) (down, away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	until, away := b.down[node]
	return now < until, away
}

func (b *mailbox) isAway(node string) bool {
	_, away := b.state(node, 0)
	return away
}

// heardOf takes note that a node is there.
func (b *mailbox) heardOf(node string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.down, node)
}

// forget drops what is known of nodes that are not there.
func (b *mailbox) forget(there map[string]bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for node := range b.down {
		if !there[node] {
			delete(b.down, node)
		}
	}
}

// news takes note of a dirty cell, of a small budget or another, and reports
// whether there was room.
func (b *mailbox) news(budget ledger.Budget, small bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := &b.slow
	if small {
		list = &b.fresh
	}
	if len(*list) >= maxNews {
		return false
	}
	*list = append(*list, budget)
	return true
}

// takeNews gives at most n dirty cells, those of large budgets only if slow.
func (b *mailbox) takeNews(n int, slow bool) []ledger.Budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slow {
		b.fresh = append(b.fresh, b.slow...)
		b.slow = nil
	}
	return cut(&b.fresh, n)
}

// cut takes at most n from the beginning of a list.
func cut[T any](list *[]T, n int) []T {
	n = min(n, len(*list))
	taken := (*list)[:n:n]
	*list = (*list)[n:]
	if len(*list) == 0 {
		*list = nil
	}
	return taken
}
