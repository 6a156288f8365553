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

// measureDisk adds how often a second the disk of the nodes keeps 4 KiB for good: what the log of a node, and of
// three on one disk, can be no faster than, unless several writes share one.
func (b *bench) measureDisk(ctx context.Context, one, three *figure) error {
	for _, m := range []struct {
		files int
		f     *figure
	}{{1, one}, {3, three}} {
		rate, err := b.syncRate(ctx, m.files)
		if err != nil {
			return err
		}
		m.f.add(rate)
	}
	return nil
}

// syncRate appends to so many files at once, for a second at most, and adds up their rates.
func (b *bench) syncRate(ctx context.Context, files int) (float64, error) {
	counts, errs := make([]int, files), make([]error, files)
	length := min(time.Second, b.opts.duration)
	end := time.Now().Add(length)
	var all sync.WaitGroup
	for i := range files {
		all.Go(func() { counts[i], errs[i] = appendUntil(ctx, filepath.Join(b.dir, fmt.Sprintf("disk%d", i)), end) })
	}
	all.Wait()
	sum := 0
	for _, n := range counts {
		sum += n
	}
	return float64(sum) / length.Seconds(), errors.Join(errs...)
}

func appendUntil(ctx context.Context, path string, end time.Time) (count int, err error) {
	f, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(path)) }()
	block := make([]byte, 4096)
	for time.Now().Before(end) && ctx.Err() == nil {
		if _, err := f.Write(block); err != nil {
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
