package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// diskFile is the size of a file that is overwritten, in blocks of diskBlock bytes.
const (
	diskFile  = 1024
	diskBlock = 4096
)

// diskFigures tell how often a second the disk of the nodes keeps 4 KiB for good: what the log of a node, and of
// three on one disk, can be no faster than, unless several writes share one. The log writes over zeros, which is
// faster than to append.
type diskFigures struct{ over, three, appended *figure }

func newDiskFigures() *diskFigures {
	return &diskFigures{
		over:     &figure{what: "the disk alone: 4 KiB overwritten and fdatasync, one file", unit: "1/s"},
		three:    &figure{what: "the disk alone: the same, three files at once, together", unit: "1/s"},
		appended: &figure{what: "the disk alone: 4 KiB appended and fdatasync, one file", unit: "1/s"},
	}
}

func (f *diskFigures) list() []*figure { return []*figure{f.over, f.three, f.appended} }

// measureDisk adds a value to each. Nothing else should use the disk meanwhile.
func (b *bench) measureDisk(ctx context.Context, f *diskFigures) error {
	for _, m := range []struct {
		f      *figure
		files  int
		append bool
	}{{f.over, 1, false}, {f.three, 3, false}, {f.appended, 1, true}} {
		rate, err := b.syncRate(ctx, m.files, m.append)
		if err != nil {
			return err
		}
		m.f.add(rate)
	}
	return nil
}

// syncRate writes to so many files at once, for a second at most, and adds up their rates.
func (b *bench) syncRate(ctx context.Context, files int, appends bool) (rate float64, err error) {
	all := make([]*os.File, files)
	for i := range all {
		path := filepath.Join(b.dir, fmt.Sprintf("disk%d", i))
		if all[i], err = os.Create(path); err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, all[i].Close(), os.Remove(path)) }()
		if !appends {
			if _, err := all[i].Write(make([]byte, diskFile*diskBlock)); err != nil {
				return 0, err
			}
		}
		if err := all[i].Sync(); err != nil {
			return 0, err
		}
	}
	counts, errs := make([]int, files), make([]error, files)
	length := min(time.Second, b.opts.duration)
	end := time.Now().Add(length)
	var running sync.WaitGroup
	for i, f := range all {
		running.Go(func() { counts[i], errs[i] = syncUntil(ctx, f, appends, end) })
	}
	running.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / length.Seconds(), errors.Join(errs...)
}

func syncUntil(ctx context.Context, f *os.File, appends bool, end time.Time) (count int, err error) {
	block := make([]byte, diskBlock)
	for time.Now().Before(end) && ctx.Err() == nil {
		at := count
		if !appends {
			at %= diskFile
		}
		if _, err := f.WriteAt(block, int64(at)*diskBlock); err != nil {
			return count, err
		}
		if err := syscall.Fdatasync(int(f.Fd())); err != nil {
			return count, fmt.Errorf("fdatasync: %w", err)
		}
		count++
	}
	return count, context.Cause(ctx)
}

// fileSystem names that of a directory. Where fsync costs nothing, because what is written is in memory, volatile
// is true: figures of it say nothing of a disk.
func fileSystem(dir string) (name string, volatile bool) {
	var at syscall.Statfs_t
	if err := syscall.Statfs(dir, &at); err != nil {
		return "unknown file system", false
	}
	switch at.Type {
	case 0x01021994:
		return "tmpfs", true
	case 0x858458f6:
		return "ramfs", true
	case 0xef53:
		return "ext4", false
	case 0x58465342:
		return "xfs", false
	case 0x9123683e:
		return "btrfs", false
	case 0x794c7630:
		return "overlayfs", false
	}
	return fmt.Sprintf("file system %#x", at.Type), false
}

// processor is the model of it and the kernel that runs.
func processor() (model, kernel string) {
	model, kernel = "unknown processor", "unknown"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(text))
	}
	return model, kernel
}
