package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// snapshotLimit is for a change to be in a snapshot.
	snapshotLimit = 30 * time.Second
	// lookEvery is how often a node's directory is looked at for it.
	lookEvery = time.Millisecond
	// growth is by how many consumers the state grows at a time until it is large enough.
	growth = 250
	// burst is how many changes come one after the other; the time counts from the last.
	burst = 5
)

// measureSnapshot makes changes on one cluster with a state of the right size.
func measureSnapshot(ctx context.Context, b *bench, rounds int) ([]*figure, error) {
	size := float64(b.opts.sizes.snapshot)
	usual := b.opts.sizes.snapshot == usualSizes().snapshot
	calm := (&figure{what: fmt.Sprintf("%.1f MB of state: from the answer to the last change until it is in a snapshot on every disk, after a pause", megabytes(size)), unit: "ms"}).withGoal(usual, 500)
	soon := (&figure{what: "the same, up to a second after a snapshot before", unit: "ms"}).withGoal(usual, 500)
	figures := []*figure{calm, soon}
	c, err := b.startCluster(ctx, "snapshot")
	if err != nil {
		return nil, err
	}
	defer c.stop()
	consumers, bytes, err := c.grow(ctx)
	if err != nil {
		return nil, err
	}
	calm.note = fmt.Sprintf("%d consumers with keys, %.2f MB in state.bin; the slowest of %d times %d changes of a round; a snapshot counts when its directory has its final name, meta.json reads, its index is not below the change's, and an fsync of the directory has returned",
		consumers, megabytes(float64(bytes)), b.opts.sizes.changes, burst)
	for round := range rounds {
		if err := b.snapshotRound(ctx, c, calm, soon); err != nil {
			return figures, err
		}
		b.say("snapshot, round %d: %.0f ms, soon after another %.0f ms", round+1, last(calm), last(soon))
	}
	return figures, nil
}

// grow brings consumers in until the snapshot on the first node's disk has the size, and says how many they are
// and how large it is.
func (c *cluster) grow(ctx context.Context) (consumers int, size int64, err error) {
	n := c.nodes[0]
	for size < c.b.opts.sizes.snapshot {
		done, err := c.b.bringIn(ctx, n, set{first: consumers, consumers: growth})
		if err != nil {
			return 0, 0, err
		}
		consumers += growth
		dir, _, err := n.awaitSnapshot(ctx, done.index)
		if err != nil {
			return 0, 0, err
		}
		info, err := os.Stat(filepath.Join(dir, "state.bin"))
		if err != nil {
			return 0, 0, err
		}
		size = info.Size()
	}
	return consumers, size, nil
}

func (b *bench) snapshotRound(ctx context.Context, c *cluster, calm, soon *figure) error {
	defer b.watch(c)()
	slowest := [2]time.Duration{}
	for range b.opts.sizes.changes {
		for i, before := range []time.Duration{b.opts.sizes.quiet, rand.N(min(b.opts.sizes.quiet, time.Second))} {
			if err := pause(ctx, before); err != nil {
				return err
			}
			took, err := c.changeAndAwait(ctx)
			if err != nil {
				return err
			}
			slowest[i] = max(slowest[i], took)
		}
	}
	calm.add(milliseconds(slowest[0]))
	soon.add(milliseconds(slowest[1]))
	return nil
}

// changeAndAwait changes a consumer a few times, and gives the time from the last answer until every node has it in
// a snapshot.
func (c *cluster) changeAndAwait(ctx context.Context) (time.Duration, error) {
	n, err := c.follower(ctx)
	if err != nil {
		return 0, err
	}
	conn, err := dial(ctx, n.admin)
	if err != nil {
		return 0, err
	}
	defer conn.close()
	var index uint64
	var answered time.Time
	for range burst {
		tag := c.b.name("change")
		a, err := conn.do(http.MethodPatch, "/consumers/"+consumerName(0), []byte(`{"tags":["`+tag+`"]}`))
		if err != nil {
			return 0, err
		}
		answered = time.Now()
		if err := a.has(http.StatusOK, "tags", `["`+tag+`"]`); err != nil {
			return 0, err
		}
		if index, err = a.index(); err != nil {
			return 0, err
		}
	}
	ends, errs := make([]time.Time, len(c.nodes)), make([]error, len(c.nodes))
	var all sync.WaitGroup
	for i, n := range c.nodes {
		all.Go(func() { _, ends[i], errs[i] = n.awaitSnapshot(ctx, index) })
	}
	all.Wait()
	latest := time.Duration(0)
	for _, at := range ends {
		latest = max(latest, at.Sub(answered))
	}
	return latest, errors.Join(errs...)
}

// awaitSnapshot waits until the node has a snapshot of at least an index for good, and gives its directory and when
// that was.
func (n *node) awaitSnapshot(ctx context.Context, index uint64) (dir string, at time.Time, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, snapshotLimit, fmt.Errorf("no snapshot of %d within %s", index, snapshotLimit))
	defer cancel()
	for {
		dir, err := n.snapshot(index)
		switch {
		case err != nil:
			return "", at, fmt.Errorf("%s: %w", n.name, err)
		case dir != "":
			return dir, time.Now(), nil
		}
		if err := pause(ctx, lookEvery); err != nil {
			return "", at, fmt.Errorf("%s: %w", n.name, err)
		}
	}
}

// snapshot gives the directory of a snapshot of at least an index, "" if there is none.
func (n *node) snapshot(index uint64) (string, error) {
	parent := filepath.Join(n.data(), "cluster", "snapshots")
	entries, err := os.ReadDir(parent)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	} else if err != nil {
		return "", err
	}
	for _, e := range entries {
		if of, ok := snapshotIndex(e.Name()); !ok || of < index {
			continue
		}
		dir := filepath.Join(parent, e.Name())
		text, err := os.ReadFile(filepath.Join(dir, "meta.json"))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a later one is there, and this one is being removed
		} else if err != nil {
			return "", err
		}
		var meta struct{ Index uint64 }
		if err := json.Unmarshal(text, &meta); err != nil {
			return "", fmt.Errorf("%s: %w", dir, err)
		}
		if meta.Index < index {
			return "", fmt.Errorf("%s: its index is %d", dir, meta.Index)
		}
		return dir, syncDir(parent)
	}
	return "", nil
}

// snapshotIndex reads the name of a finished snapshot, "term-index-milliseconds".
func snapshotIndex(name string) (index uint64, ok bool) {
	parts := strings.Split(name, "-")
	if len(parts) != 3 || strings.HasSuffix(name, ".tmp") {
		return 0, false
	}
	index, err := strconv.ParseUint(parts[1], 10, 64)
	return index, err == nil
}

// syncDir returns when the names in a directory are on the disk.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
