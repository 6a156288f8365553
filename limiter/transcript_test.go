package limiter

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A transcript is a file of blocks: commands, a line of dashes, and what
// happened, up to an empty line. Lines that begin with # are comments. All
// times are of one day, 2026-06-15 in UTC. UPDATE_TRANSCRIPTS=1 rewrites the
// outcomes: read the difference before you believe it.

// interpreter carries out one command: its name and its arguments, those with
// an equals sign by name.
type interpreter interface {
	do(cmd string, args []string, named map[string]string, out *strings.Builder) error
}

func TestLedgerTranscripts(t *testing.T) {
	transcripts(t, "testdata/ledger/*.txt", func() interpreter { return &ledgerTalk{l: NewLedger()} })
}

func TestCoreTranscripts(t *testing.T) {
	transcripts(t, "testdata/core/*.txt", func() interpreter { return newCoreTalk() })
}

func transcripts(t *testing.T, pattern string, start func() interpreter) {
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts %s: %v", pattern, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, start(), string(text))
			if os.Getenv("UPDATE_TRANSCRIPTS") != "" {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(text) {
				t.Errorf("%s says\n%s\nbut this happened:\n%s", file, text, got)
			}
		})
	}
}

// replay carries out a transcript and returns it with the true outcomes.
func replay(t *testing.T, in interpreter, text string) string {
	var all, out strings.Builder
	talking := true
	for _, line := range strings.Split(strings.TrimRight(text, "\n")+"\n", "\n") {
		switch {
		case line == "----":
			fmt.Fprintf(&all, "----\n%s", &out)
			out.Reset()
			talking = false
		case line == "":
			if talking && out.Len() > 0 {
				t.Fatalf("no ---- after %q", all.String())
			}
			all.WriteString("\n")
			talking = true
		case talking:
			fmt.Fprintln(&all, line)
			if strings.HasPrefix(line, "#") {
				continue
			}
			words := strings.Fields(line)
			var args []string
			named := map[string]string{}
			for _, w := range words[1:] {
				if k, v, ok := strings.Cut(w, "="); ok {
					named[k] = v
				} else {
					args = append(args, w)
				}
			}
			if err := in.do(words[0], args, named, &out); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
		}
	}
	return strings.TrimRight(all.String(), "\n") + "\n"
}

func clockTime(s string) int64 {
	for _, layout := range []string{"15:04:05.999999", "15:04"} {
		if at, err := time.Parse(layout, s); err == nil {
			return time.Date(2026, 6, 15, at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.UTC).UnixMicro()
		}
	}
	panic("not a time: " + s)
}

func showTime(us int64) string { return time.UnixMicro(us).UTC().Format("15:04:05.000000") }

func parsePeriod(s string) Period {
	for p, name := range periodNames {
		if name == s {
			return Period(p)
		}
	}
	return Periods
}

func num(named map[string]string, name string) int64 {
	n, err := strconv.ParseFloat("0"+named[name], 64)
	if err != nil {
		panic(err)
	}
	return int64(n)
}

// ledgerTalk: entry TIME, then batch and item lines, apply; cells; snapshot;
// room N.
type ledgerTalk struct {
	l *Ledger
	e Entry
}

func (lt *ledgerTalk) do(cmd string, args []string, named map[string]string, out *strings.Builder) error {
	switch cmd {
	case "room":
		n, _ := strconv.Atoi(args[0])
		lt.l.maxCells = n
	case "entry":
		lt.e = Entry{Stamp: clockTime(args[0])}
	case "batch":
		seq, _ := strconv.ParseUint(args[2], 10, 64)
		lt.e.Batches = append(lt.e.Batches, Batch{Node: args[0], Incarnation: args[1], Seq: seq})
	case "item": // LIMIT KEY PERIOD TIME
		p := parsePeriod(args[2])
		start, _ := p.windowAt(clockTime(args[3]) / second)
		b := &lt.e.Batches[len(lt.e.Batches)-1]
		b.Items = append(b.Items, Item{
			Limit: args[0], Key: args[1], Period: p, Start: start, Version: uint64(max(1, num(named, "version"))),
			Max: num(named, "max"), Want: num(named, "want"), Waiting: num(named, "waiting"),
			Rate: float64(num(named, "rate")), Spent: num(named, "spent"), Return: num(named, "return"),
		})
	case "apply":
		showOutcome(out, lt.l.Apply(lt.e))
	case "cells":
		for _, v := range lt.l.Cells("", 100) {
			fmt.Fprintf(out, "%s %s %s: max %d pool %d spent %d lost %d", v.Limit, v.Key, v.Period, v.Max, v.Pool, v.Spent, v.Lost)
			for _, h := range v.Holders {
				fmt.Fprintf(out, ", %s holds %d spent %d", h.Node, h.Held, h.Spent)
			}
			fmt.Fprintln(out)
		}
	case "snapshot":
		b, _ := lt.l.MarshalBinary()
		room := lt.l.maxCells
		lt.l = NewLedger()
		lt.l.maxCells = room
		if err := lt.l.UnmarshalBinary(b); err != nil {
			return err
		}
		if c, _ := lt.l.MarshalBinary(); !bytes.Equal(b, c) {
			return errors.New("the restored ledger encodes differently")
		}
		fmt.Fprintln(out, "restored")
	default:
		return errors.New("unknown command")
	}
	return nil
}

func showOutcome(out *strings.Builder, o *Outcome) {
	fmt.Fprintf(out, "stamp %s\n", showTime(o.Stamp))
	for _, b := range o.Results {
		fmt.Fprintf(out, "%s %s %d", b.Node, b.Incarnation, b.Seq)
		if b.Stale {
			fmt.Fprint(out, " stale")
		}
		fmt.Fprintln(out)
		for _, r := range b.Results {
			fmt.Fprintf(out, "  granted %d pool %d spent %d outstanding %d", r.Granted, r.Pool, r.Spent, r.Outstanding)
			if r.Closed {
				fmt.Fprint(out, " closed")
			}
			if r.Refused != "" {
				fmt.Fprintf(out, " refused: %s", r.Refused)
			}
			fmt.Fprintln(out)
		}
	}
	for _, r := range o.Recalls {
		fmt.Fprintf(out, "recall %s: %s %s %s want %d rate %v\n", r.Node, r.Limit, r.Key, r.Period, r.Want, r.Rate)
	}
	for _, w := range o.Wakes {
		fmt.Fprintf(out, "wake %s: %s %s %s\n", w.Node, w.Limit, w.Key, w.Period)
	}
}

// coreTalk: limit; take; settle; ready; answer; again; recall; wake; tick;
// leaderless.
type coreTalk struct {
	c       *core
	limits  map[string]*Limit
	now     int64
	tickets []*ticket
	of      []*Limit
	last    BatchResult
}

func newCoreTalk() *coreTalk {
	c := newCore("n1", "a", 1)
	c.renew = func() string { return c.incarnation + "a" }
	c.known = func(string, string, Period, int64) (int64, bool) { return 8, true }
	c.voters = func() []string { return []string{"n3", "n1", "n2"} }
	return &coreTalk{c: c, limits: map[string]*Limit{}}
}

func (ct *coreTalk) do(cmd string, args []string, named map[string]string, out *strings.Builder) error {
	switch cmd {
	case "at":
		ct.now = clockTime(args[0])
	case "limit":
		l := &Limit{ID: args[0], Version: uint64(max(1, num(named, "version"))), FaultTolerant: named["tolerant"] != ""}
		for p := range l.Max {
			l.Max[p] = num(named, periodNames[p])
		}
		ct.limits[args[0]] = l
	case "take": // LIMIT KEY [times=N]
		for range max(1, num(named, "times")) {
			ct.take(ct.limits[args[0]], args[1], out)
		}
	case "settle":
		n, _ := strconv.Atoi(args[0])
		var d Decision
		ct.c.settle(ct.tickets[n-1], ct.of[n-1], ct.now, &d)
		showDecision(out, ct.of[n-1], d)
	case "ready":
		ct.ready(out)
	case "answer", "again":
		if cmd == "answer" {
			ct.answer(named)
		}
		ct.c.credit(ct.now, &ct.last)
		for i, tk := range ct.tickets {
			if tk.done && tk.acct != nil {
				fmt.Fprintf(out, "request %d decided: admitted %v\n", i+1, tk.admitted)
				ct.tickets[i] = &ticket{done: true}
			}
		}
	case "recall", "wake": // LIMIT KEY PERIOD
		p := parsePeriod(args[2])
		start, _ := p.windowAt(ct.now / second)
		o := &Outcome{Stamp: ct.now}
		if cmd == "wake" {
			o.Wakes = []Wake{{"n1", args[0], args[1], p, start}}
		} else {
			o.Recalls = []Recall{{"n1", args[0], args[1], p, start, num(named, "want"), float64(num(named, "rate"))}}
		}
		ct.c.observe(ct.now, o)
	case "tick":
		ct.c.tick(ct.now)
	case "leaderless":
		ct.c.loss.Store(&loss{since: ct.now, long: true})
	case "leader":
		ct.c.loss.Store(nil)
	default:
		return errors.New("unknown command")
	}
	return nil
}

func (ct *coreTalk) take(lim *Limit, key string, out *strings.Builder) {
	var d Decision
	if tk := ct.c.take(ct.now, lim, key, &d); tk != nil {
		ct.tickets = append(ct.tickets, tk)
		ct.of = append(ct.of, lim)
		fmt.Fprintf(out, "request %d waits\n", len(ct.tickets))
		return
	}
	showDecision(out, lim, d)
}

func showDecision(out *strings.Builder, lim *Limit, d Decision) {
	if d.Admitted {
		fmt.Fprint(out, "admitted")
	} else {
		fmt.Fprintf(out, "refused by %s", d.Refused)
	}
	for p := range lim.Max {
		if lim.Max[p] > 0 {
			fmt.Fprintf(out, ", %s: %d left, %d s", Period(p), d.Remaining[p], d.Reset[p])
		}
	}
	if d.Degraded {
		fmt.Fprint(out, ", degraded")
	}
	if d.Err != nil {
		fmt.Fprintf(out, ", error: %v", d.Err)
	}
	fmt.Fprintln(out)
}

func (ct *coreTalk) ready(out *strings.Builder) {
	b, ok := ct.c.ready(ct.now)
	if !ok {
		fmt.Fprintln(out, "nothing")
		return
	}
	fmt.Fprintf(out, "%s %s %d\n", b.Node, b.Incarnation, b.Seq)
	for _, it := range b.Items {
		fmt.Fprintf(out, "  %s %s %s %s: want %d waiting %d rate %.0f spent %d return %d\n", it.Limit, it.Key,
			it.Period, showTime(it.Start * second)[:8], it.Want, it.Waiting, it.Rate, it.Spent, it.Return)
	}
}

// answer answers the outstanding batch.
func (ct *coreTalk) answer(named map[string]string) {
	b := ct.c.out.batch
	ct.last = BatchResult{Node: b.Node, Incarnation: b.Incarnation, Seq: b.Seq, Stamp: ct.now, Stale: named["stale"] != ""}
	if s := named["stamp"]; s != "" {
		ct.last.Stamp = clockTime(s)
	}
	for _, it := range b.Items {
		of := func(name string) string { // minute.pool=3 goes before pool=3
			if v, ok := named[it.Period.String()+"."+name]; ok {
				return v
			}
			return named[name]
		}
		n := func(name string) int64 { return num(map[string]string{name: of(name)}, name) }
		ct.last.Results = append(ct.last.Results, Result{
			Granted: n("granted"), Pool: n("pool"), Spent: n("spent"), Outstanding: n("outstanding"), Closed: of("closed") != "",
			Refused: map[string]string{"expired": RefusedExpired, "future": RefusedFuture, "full": RefusedFull}[of("refused")],
		})
	}
}
