package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/sluicegate/sluice/scripts/chaos/check/book"
)

// faultLog writes down what was done, when it is over. Safe for concurrent use.
type faultLog struct {
	mu   sync.Mutex
	file *os.File
	err  error
}

func newFaultLog(dir string) (*faultLog, error) {
	f, err := os.Create(filepath.Join(dir, book.FaultsFile))
	return &faultLog{file: f}, err
}

func (l *faultLog) add(f *book.Fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	line, err := json.Marshal(f)
	if err == nil {
		_, err = l.file.Write(append(line, '\n'))
	}
	l.err = errors.Join(l.err, err)
}

func (l *faultLog) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, l.file.Close())
}
