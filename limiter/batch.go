package limiter

// ready returns the batch to propose, if there is one: the outstanding batch
// until it is answered, then a new one made of the cells that want something.
func (c *core) ready(local int64) (Batch, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out != nil {
		return c.out.batch, true
	}
	t := c.clock.at(local)
	out := &outstanding{batch: Batch{Node: c.node, Incarnation: c.incarnation}}
	size := out.batch.size()
	for i := range c.shards {
		if !c.shards[(c.turn+i)%len(c.shards)].drain(t, out, &size) {
			c.turn = (c.turn + i) % len(c.shards)
			c.signal()
			break
		}
	}
	if len(out.batch.Items) == 0 {
		return Batch{}, false
	}
	c.seq++
	out.batch.Seq = c.seq
	c.out = out
	return out.batch, true
}

// drain moves what the shard has to say into out. It returns false when out is
// full; the rest stays queued.
func (s *shard) drain(t int64, out *outstanding, size *int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	fits := func(it *Item) bool {
		return len(out.batch.Items) < maxBatchItems && *size+it.size() <= maxBatchBytes
	}
	for n := range s.strays {
		it := &s.strays[n]
		if !fits(it) {
			s.strays = append(s.strays[:0], s.strays[n:]...)
			return false
		}
		out.batch.Items = append(out.batch.Items, *it)
		out.refs = append(out.refs, ref{})
		*size += it.size()
	}
	s.strays = nil
	for n, cl := range s.queue {
		cl.follow(t, cl.version, cl.max)
		it, ok := cl.item(t)
		if ok && !fits(&it) {
			s.queue = append(s.queue[:0], s.queue[n:]...)
			return false
		}
		cl.queued = false
		if !ok {
			continue
		}
		cl.inFlight, cl.force, cl.giveBack = true, false, 0
		out.batch.Items = append(out.batch.Items, it)
		out.refs = append(out.refs, ref{cl, cl.gen, cl.debt})
		*size += it.size()
	}
	clear(s.queue)
	s.queue = s.queue[:0]
	return true
}

// item is what the cell has to say, if anything.
func (c *cell) item(t int64) (Item, bool) {
	want := c.want(t)
	if want == 0 && c.giveBack == 0 && !c.force && !c.unreported() {
		return Item{}, false
	}
	return Item{
		Limit: c.acct.limit, Version: c.version, Max: c.max, Key: c.acct.key,
		Period: c.period, Start: c.start / second,
		Want: want, Waiting: min(want, int64(c.live)), Rate: c.rateAt(t), Spent: c.spent, Return: c.giveBack,
	}, true
}

// credit takes over the answer to the outstanding batch. An answer to any other
// batch, an earlier incarnation's or one that has been answered before is
// dropped: whatever it grants stays the ledger's loss.
func (c *core) credit(local int64, r *BatchResult) {
	c.clock.saw(r.Stamp)
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.out
	if out == nil || r.Node != c.node || r.Incarnation != c.incarnation || r.Seq != out.batch.Seq {
		return
	}
	if r.Stale {
		c.rebegin(local)
		return
	}
	c.answered()
	for i := range out.refs {
		if out.refs[i].cell == nil {
			continue
		}
		res := Result{Refused: RefusedMalformed}
		if i < len(r.Results) {
			res = r.Results[i]
		}
		c.creditItem(local, r.Stamp, out.refs[i], &out.batch.Items[i], &res)
	}
	c.signal()
}

// answered ends the outstanding batch. mu is held.
func (c *core) answered() {
	if c.out.answered != nil {
		c.out.answered()
	}
	c.out = nil
}

// watch has f called when the batch seq is answered, and reports false if that
// has happened already.
func (c *core) watch(seq uint64, f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.out == nil || c.out.batch.Seq != seq {
		return false
	}
	c.out.answered = f
	return true
}

// creditItem takes over the answer to one item.
func (c *core) creditItem(local, stamp int64, rf ref, it *Item, res *Result) {
	switch res.Refused {
	case RefusedFuture:
		c.clock.distrust(local, stamp)
	case RefusedExpired:
		c.clock.trust()
	}
	t := c.clock.at(local)
	cl := rf.cell
	s := cl.acct.shard
	s.mu.Lock()
	defer s.mu.Unlock()
	cl.inFlight = false
	cl.follow(t, cl.version, cl.max)
	if cl.gen == rf.gen {
		cl.reported = it.Spent
	}
	switch {
	case cl.gen != rf.gen:
		// The window is over: its tokens are nobody's any more.
	case res.Refused != "":
		cl.denyUntil = t + softDenial
		s.refuseAll(cl)
	default:
		cl.answer(t, rf, it, res)
		s.serve(cl)
		if cl.closed && cl.tokens == 0 {
			s.refuseAll(cl)
		}
	}
	s.goOn(cl, t)
}

// answer takes over what the ledger says about the cell's window.
//
// The pool has paid for the share spent as far as the item told of it; what was
// spent of it since is paid for out of the grant.
func (c *cell) answer(t int64, rf ref, it *Item, res *Result) {
	c.share = 0 // the log is back
	c.debt -= rf.debt
	pay := min(c.debt, res.Granted)
	c.debt -= pay
	c.tokens += res.Granted - pay
	c.pool, c.answered = res.Pool, t
	// What was final for a lower limit says nothing about a raised one.
	c.closed = res.Closed && c.version <= it.Version
}

// goOn decides what the cell does after an answer.
func (s *shard) goOn(cl *cell, t int64) {
	if s.core.closing.Load() {
		cl.release()
	}
	switch {
	case cl.giveBack > 0 || cl.force,
		cl.live > 0 && (cl.answered == 0 || cl.pool > 0):
		s.enqueue(cl)
	case cl.live > 0 || cl.unreported():
		s.delay(cl, t)
	}
}

// rebegin starts a new incarnation after the ledger has written off this one,
// tokens and all.
func (c *core) rebegin(local int64) {
	t := c.clock.at(local)
	c.answered()
	c.incarnation, c.seq = c.renew(), 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		s.strays = nil
		for _, a := range s.accounts {
			for _, cl := range a.cells {
				if cl == nil {
					continue
				}
				cl.void()
				cl.inFlight = false
				s.goOn(cl, t)
			}
		}
		s.mu.Unlock()
	}
	c.signal()
}

// observe takes note of an outcome of the log: the answer to this node's
// outstanding batch, if it is in there, then what others ask of this node.
func (c *core) observe(local int64, o *Outcome) {
	c.clock.saw(o.Stamp)
	for i := range o.Results {
		if o.Results[i].Node == c.node {
			c.credit(local, &o.Results[i])
		}
	}
	t := c.clock.at(local)
	for i := range o.Recalls {
		if o.Recalls[i].Node == c.node {
			c.recall(t, &o.Recalls[i])
		}
	}
	for i := range o.Wakes {
		if o.Wakes[i].Node == c.node {
			c.wake(&o.Wakes[i])
		}
	}
}

// recall gives tokens back. A node that knows nothing of the window says so,
// so that the ledger learns that an earlier incarnation's lease is gone.
func (c *core) recall(t int64, r *Recall) {
	cl, s := c.lock(r.Limit, r.Key, r.Period, r.Start)
	defer s.mu.Unlock()
	if cl != nil {
		cl.yield(t, r.Rate)
		s.enqueue(cl)
		return
	}
	if _, end := r.Period.windowAt(r.Start); t < end*second && len(s.strays) < maxStrays {
		s.strays = append(s.strays, Item{Limit: r.Limit, Key: r.Key, Period: r.Period, Start: r.Start})
		c.signal()
	}
}

// wake asks again for a cell whose last ask was not met.
func (c *core) wake(w *Wake) {
	cl, s := c.lock(w.Limit, w.Key, w.Period, w.Start)
	defer s.mu.Unlock()
	if cl == nil {
		return
	}
	cl.denyUntil = 0
	if cl.live > 0 {
		s.enqueue(cl)
	}
}

// lock finds the cell of a window, nil if this node has none, and locks its
// shard.
func (c *core) lock(limit, key string, p Period, start int64) (*cell, *shard) {
	h := c.hash(limit, key)
	s := &c.shards[h%uint64(len(c.shards))]
	s.mu.Lock()
	a := s.find(h, limit, key)
	if a == nil || p >= Periods || a.cells[p] == nil || a.cells[p].start != start*second {
		return nil, s
	}
	return a.cells[p], s
}
