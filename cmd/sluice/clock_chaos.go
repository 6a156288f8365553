//go:build chaos

package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"
)

// buildKind is told with the version, in the log and by the Admin API, so that
// nobody takes this build for another.
const buildKind = "+chaos"

// wallClock is the system's clock plus what the file clock-offset in the data
// directory says ("-1h30m", "250ms"), if there is one that can be read: scripts/chaos
// sets nodes' clocks with it. There is no setting for it, and no other build
// looks for the file.
func wallClock(dataDir string) func() time.Time {
	path := filepath.Join(dataDir, "clock-offset")
	return func() time.Time {
		text, _ := os.ReadFile(path)
		offset, _ := time.ParseDuration(strings.TrimSpace(string(text)))
		return time.Now().Add(offset)
	}
}
