package cluster

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"
)

// errLogDamaged is given for a raft.db whose pages do not read.
var errLogDamaged = errors.New("its pages are damaged")

// verifyBolt reads all of a raft.db before it is opened for writing. bbolt meets a
// damaged page with a panic, and when it opens for writing it does so in a
// goroutine of its own, where nothing can catch it; a reader's panic is caught
// here. A file that is not there, or is empty, is one still to be made.
func verifyBolt(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return readBolt(path, readAll)
}

// readBolt has a raft.db read that is not to be changed.
func readBolt(path string, read func(*bbolt.Tx) error) error {
	return withoutPanic(func() (err error) {
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: lockWait})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, db.Close()) }()
		if err := db.View(read); err != nil {
			return fmt.Errorf("%w: %w", errLogDamaged, err)
		}
		return nil
	})
}

// withoutPanic makes an error of a panic that a damaged file causes.
func withoutPanic(f func() error) (err error) {
	// The file is mapped: a page behind its end is a fault, not an error.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %v", errLogDamaged, cause)
		}
	}()
	return f()
}

// readAll touches every byte of every key and value.
func readAll(tx *bbolt.Tx) error {
	sum := crc32.NewIEEE() // of no interest but that it reads
	return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
		return b.ForEach(func(k, v []byte) error {
			sum.Write(k)
			sum.Write(v)
			return nil
		})
	})
}
