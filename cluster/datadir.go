package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/hashicorp/raft"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/sluicegate/sluice/cluster/wal"
	"github.com/sluicegate/sluice/internal/seal"
)

// The files under DataDir/cluster. raft's snapshot store adds "snapshots".
const (
	fileNode     = "node.json"
	fileMembers  = "members.json"
	fileVotes    = "raft.db" // raft's term and vote, and the log's name
	dirLog       = "log"
	dirSnapshots = "snapshots"

	// lockWait is how long another process may take to let go of the log: a
	// restart overlaps its predecessor's end by a moment.
	lockWait = time.Second
)

// identity is who the node is, in its data directory. A wiped disk is another
// node.
type identity struct {
	ID uuid.UUID `json:"id"`
	// Log names the log that this node writes; the log holds the same name. A
	// node whose log is lost has forgotten what it acknowledged and whom it
	// voted for, and must not speak under its id any more.
	Log uuid.UUID `json:"log"`
	// ClusterID is "" until the node belongs to a cluster.
	ClusterID string `json:"cluster_id,omitempty"`
	// Left says that the node gave up its membership: nothing here counts.
	Left bool `json:"left,omitempty"`
}

// dataDir is the open directory; its log is locked against other processes.
type dataDir struct {
	path      string
	node      identity
	log       *logStore
	snapshots *raft.FileSnapshotStore
	noSync    bool
	// sealed says that something here was sealed when it was opened.
	sealed bool
}

func openDataDir(conf *Config, log *raftLog) (_ *dataDir, err error) {
	d := &dataDir{path: filepath.Join(conf.DataDir, "cluster"), noSync: conf.noSync}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	if err := d.openLog(conf.Keys); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.log.Close())
		}
	}()
	if err := d.readIdentity(); err != nil {
		return nil, err
	}
	if d.node.Left {
		// A leave was interrupted after it counted: finish it.
		if err := d.log.Close(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDataDir, err)
		}
		if err := d.wipe(); err != nil {
			return nil, err
		}
		return openDataDir(conf, log)
	}
	if err := d.removeUnfinishedSnapshots(); err != nil {
		return nil, err
	}
	d.snapshots, err = raft.NewFileSnapshotStoreWithLogger(d.path, conf.Snapshot.Retain, log)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	return d, d.check()
}

// openLog opens the log, or makes an empty one. Before it writes anything it makes
// sure that the log reads, and that the keys open what is stored here.
func (d *dataDir) openLog(keys *seal.Keys) error {
	path, log := filepath.Join(d.path, fileVotes), filepath.Join(d.path, dirLog)
	err := verifyBolt(path)
	if err == nil {
		err = d.checkSealed(keys)
	}
	if err == nil {
		d.log, err = openLogStore(d.path, d.noSync)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrKeyMissing), errors.Is(err, ErrCorruptData), errors.Is(err, ErrDataDir):
		return err
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%w: %s", ErrDataDirLocked, d.path)
	case errors.Is(err, errLogDamaged), errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum), errors.Is(err, bolterrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %s does not read (%w): start with an empty data directory to join the cluster anew", ErrCorruptData, path, err)
	case errors.Is(err, wal.ErrDamaged), errors.Is(err, wal.ErrNone):
		return fmt.Errorf("%w: the log %s does not read (%w): put it back, or start with an empty data directory to join the cluster anew", ErrCorruptData, log, err)
	}
	return fmt.Errorf("%w: %w", ErrDataDir, err)
}

// readIdentity reads who this node is, or makes it someone.
func (d *dataDir) readIdentity() error {
	path := filepath.Join(d.path, fileNode)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		last, err := d.log.LastIndex()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrCorruptData, err)
		}
		if last > 0 {
			// Another identity must never vote with this one's log.
			return fmt.Errorf("%w: %s holds a log but not %s: put it back, or start with an empty data directory to join the cluster anew", ErrCorruptData, d.path, fileNode)
		}
		return d.newIdentity()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	if err := json.Unmarshal(data, &d.node); err != nil || d.node.ID == uuid.Nil {
		return fmt.Errorf("%w: %s does not read (%v): start with an empty data directory to join the cluster anew", ErrCorruptData, path, err)
	}
	if d.log.Name() != d.node.Log {
		if d.node.Left {
			return nil // a wipe was interrupted, and goes on
		}
		return fmt.Errorf("%w: the log %s is not the one that node %s has written: put it back, or start with an empty data directory to join the cluster anew",
			ErrCorruptData, filepath.Join(d.path, fileVotes), d.node.ID)
	}
	return nil
}

// newIdentity makes this node someone, with the log that was made for it.
func (d *dataDir) newIdentity() error {
	var err error
	if d.node.ID, err = uuid.NewV7(); err != nil {
		return fmt.Errorf("make a node id: %w", err)
	}
	d.node.Log = d.log.Name()
	return d.writeIdentity()
}

func (d *dataDir) writeIdentity() error { return d.writeJSON(fileNode, d.node) }

// writeJSON replaces a file, whole or not at all.
func (d *dataDir) writeJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := replaceFile(filepath.Join(d.path, name), append(data, '\n')); err != nil {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	return nil
}

func replaceFile(path string, data []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = tmp.Write(data)
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// removeUnfinishedSnapshots frees what a crash during a snapshot left behind;
// raft's store skips those for ever.
func (d *dataDir) removeUnfinishedSnapshots() error {
	left, err := filepath.Glob(filepath.Join(d.path, dirSnapshots, "*.tmp"))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	for _, path := range left {
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("%w: %w", ErrDataDir, err)
		}
	}
	return nil
}

// check finds damage that raft would meet with a panic or pass over in silence:
// it falls back to an older snapshot, and to an older state with it.
func (d *dataDir) check() error {
	entries, err := os.ReadDir(filepath.Join(d.path, dirSnapshots))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	found, err := d.snapshots.List()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDataDir, err)
	}
	known := map[string]bool{}
	for _, s := range found {
		known[s.ID] = true
	}
	for _, e := range entries {
		// List gives the newest that read; an older one is no loss.
		if e.IsDir() && !known[e.Name()] && (len(found) == 0 || newerSnapshot(e.Name(), found[0].ID)) {
			return d.corruptSnapshot(e.Name(), errors.New("its description does not read"))
		}
	}
	var index uint64
	if len(found) > 0 {
		index = found[0].Index
		_, content, err := d.snapshots.Open(found[0].ID) // reads it all, for its checksum
		if err != nil {
			return d.corruptSnapshot(found[0].ID, err)
		}
		if err := content.Close(); err != nil {
			return fmt.Errorf("%w: %w", ErrDataDir, err)
		}
	}
	return d.checkLog(index)
}

// newerSnapshot compares names, "term-index-milliseconds".
func newerSnapshot(a, b string) bool {
	var at, ai, bt, bi uint64
	if n, err := fmt.Sscanf(a, "%d-%d", &at, &ai); n != 2 || err != nil {
		return false // not a snapshot
	}
	if n, err := fmt.Sscanf(b, "%d-%d", &bt, &bi); n != 2 || err != nil {
		return true
	}
	return at > bt || at == bt && ai > bi
}

func (d *dataDir) corruptSnapshot(id string, err error) error {
	return fmt.Errorf("%w: the snapshot %s does not read (%w): move it away to start from an older one, or start with an empty data directory to join the cluster anew",
		ErrCorruptData, filepath.Join(d.path, dirSnapshots, id), err)
}

// checkLog makes sure that the log goes on where the snapshot ends.
func (d *dataDir) checkLog(snapshot uint64) error {
	last, err := d.log.LastIndex()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrCorruptData, err)
	}
	for index := snapshot + 1; index <= last; index++ {
		var entry raft.Log
		if err := d.log.GetLog(index, &entry); err != nil {
			return fmt.Errorf("%w: entry %d of the log is missing (%w): start with an empty data directory to join the cluster anew", ErrCorruptData, index, err)
		}
	}
	return nil
}

// maxMembersFile bounds what is read back, in bytes.
const maxMembersFile = 1 << 20

// readMembers gives the nodes that an earlier run knew. The file is a help, not
// a truth: one that does not read is as good as none.
func (d *dataDir) readMembers() []member {
	path := filepath.Join(d.path, fileMembers)
	if info, err := os.Stat(path); err != nil || info.Size() > maxMembersFile {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	var out []member
	if json.Unmarshal(data, &out) != nil {
		return nil
	}
	kept := out[:0]
	for _, m := range out {
		if _, err := uuid.Parse(m.ID); err == nil && strings.Contains(m.Address, ":") && len(kept) < maxMembers {
			kept = append(kept, m)
		}
	}
	return kept
}

func (d *dataDir) writeMembers(all []member) error { return d.writeJSON(fileMembers, all) }

// hasState says whether raft has ever run here with a configuration.
func (d *dataDir) hasState() (bool, error) {
	has, err := raft.HasExistingState(d.log, d.log, d.snapshots)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrCorruptData, err)
	}
	return has, nil
}

// wipe empties the directory of a node that left; the log must be closed. The
// identity goes last, so that an interrupted wipe is finished at the next open.
func (d *dataDir) wipe() error {
	for _, name := range []string{dirSnapshots, dirLog, fileVotes, fileVotes + suffixNew, fileMembers, fileNode} {
		if err := os.RemoveAll(filepath.Join(d.path, name)); err != nil {
			return fmt.Errorf("%w: %w", ErrDataDir, err)
		}
	}
	return nil
}
