package check

// usages says how much of each limit was used where there was demand for it.
// Limits of several kinds of windows are left out: a request that one of them
// refuses is no demand for the other.
func (c *counter) usages(over []int) []Usage {
	us := make([]Usage, len(c.run.Limits))
	for i, l := range c.run.Limits {
		us[i] = Usage{Limit: l.Name, Over: over[i]}
	}
	for b, demand := range c.demand {
		most, least := c.allowed(b, c.span(b))
		if most != least || demand < most {
			continue
		}
		admitted := int64(0)
		if t := c.tallies[b]; t != nil {
			admitted = t.tokens
		}
		u := &us[b.limit]
		at := c.span(b).from - c.run.Begun
		u.All.add(admitted, most, at)
		if c.quiet(b) {
			u.Quiet.add(admitted, most, at)
		}
	}
	return us
}
