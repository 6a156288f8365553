package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"

	"github.com/sluicegate/sluice/cluster/wal"
)

// asBefore lays a node's directory out as builds before package wal did: the entries
// are in raft.db. hole leaves that many out at the beginning, but for the first.
func asBefore(t *testing.T, dir string, hole uint64) {
	t.Helper()
	path := filepath.Join(dir, "cluster", fileVotes)
	log, err := wal.Read(filepath.Join(dir, "cluster", dirLog))
	if err != nil {
		t.Fatal(err)
	}
	votes, err := openVotes(path, true)
	if err != nil {
		t.Fatal(err)
	}
	old, err := raftboltdb.New(raftboltdb.Options{Path: path + ".old", NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"CurrentTerm", "LastVoteTerm", "LastVoteCand"} {
		value, err := votes.Get([]byte(key))
		if err == nil {
			err = old.Set([]byte(key), value)
		}
		if err != nil {
			t.Fatalf("%s: %v", key, err)
		}
	}
	first, _ := log.FirstIndex() // these two cannot fail
	last, _ := log.LastIndex()
	for index := first; index <= last; index++ {
		if index > first && index <= first+hole {
			continue
		}
		var e raft.Log
		if err := errors.Join(log.GetLog(index, &e), old.StoreLog(&e)); err != nil {
			t.Fatal(err)
		}
	}
	err = errors.Join(old.Set([]byte(keyLogName), []byte(log.Name().String())), old.Close(), votes.Close(), log.Close(),
		os.Rename(path+".old", path), os.RemoveAll(filepath.Join(dir, "cluster", dirLog)))
	if err != nil {
		t.Fatal(err)
	}
}

// TestADirectoryOfAnOlderBuild: its entries move into a log of their own, with raft's
// term and vote, and it goes on.
func TestADirectoryOfAnOlderBuild(t *testing.T) {
	t.Parallel()
	for name, hole := range map[string]uint64{"whole": 0, "with a hole before a leader's snapshot": 2} {
		t.Run(name, func(t *testing.T) {
			dir, id := written(t)
			asBefore(t, dir, hole)
			// Of a move that was interrupted.
			unfinished := filepath.Join(dir, "cluster", dirLog)
			if err := os.MkdirAll(unfinished, 0o700); err != nil {
				t.Fatal(err)
			}
			replace(t, filepath.Join(unfinished, "0000000000000001.wal"), []byte("not finished"))
			n := open(t, config(t, dir))
			waitLeader(t, n)
			term := n.raft.CurrentTerm()
			holds(t, n, "first")
			holds(t, n, "second")
			if n.ID() != id || term < 3 {
				t.Errorf("node %s in term %d, it was %s in 2", n.ID(), term, id)
			}
			put(t, n, "third")
			crash(t, n)
			n = open(t, config(t, dir))
			waitLeader(t, n)
			holds(t, n, "third")
			if n.raft.CurrentTerm() <= term {
				t.Errorf("started again: term %d after %d", n.raft.CurrentTerm(), term)
			}
		})
	}
}

// TestAnOlderBuildRefusesTheDirectory: it would find an empty log in raft.db, and
// forget what was acknowledged. It looks for the log's name, which is elsewhere now.
func TestAnOlderBuildRefusesTheDirectory(t *testing.T) {
	t.Parallel()
	dir, _ := written(t)
	votes, err := openVotes(filepath.Join(dir, "cluster", fileVotes), true)
	if err != nil {
		t.Fatal(err)
	}
	defer votes.Close()
	if name, err := votes.Get([]byte(keyLogName)); !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		t.Errorf("it finds %q, %v", name, err)
	}
	if found, _ := filepath.Glob(filepath.Join(dir, "cluster", "*"+suffixNew)); len(found) > 0 {
		t.Errorf("left behind: %s", strings.Join(found, ", "))
	}
}
