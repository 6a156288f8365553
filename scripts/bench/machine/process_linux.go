package machine

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// Starter starts processes, each in a process group of its own, on given cores,
// and such that they end when this process does.
type Starter struct {
	work chan func()
	once sync.Once
	mu   sync.Mutex
	all  []*Process
}

// NewStarter begins the thread that starts processes: it is their parent in the
// kernel's eyes, whose end they get a signal for, so it lasts until Close.
func NewStarter() *Starter {
	s := &Starter{work: make(chan func())}
	go func() {
		runtime.LockOSThread() // never unlocked: its affinity is not for others
		for f := range s.work {
			f()
		}
	}()
	return s
}

// Process is one that Start started.
type Process struct {
	Name  string
	PID   int // and its group
	self  *os.Process
	ended chan struct{}
	err   error
}

// Start runs cmd on the given cores. orphaned is the signal it gets if this
// process dies first: one at which it also ends its own children.
func (s *Starter) Start(name string, cmd *exec.Cmd, cores []int, orphaned syscall.Signal) (*Process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: orphaned}
	result := make(chan error)
	s.work <- func() {
		err := pin(cores)
		if err == nil {
			err = cmd.Start()
		}
		result <- err
	}
	if err := <-result; err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &Process{Name: name, PID: cmd.Process.Pid, self: cmd.Process, ended: make(chan struct{})}
	go func() {
		// What it leaves behind of its group is ended while its number is still
		// its own: afterwards that may be somebody else's.
		if awaitExit(p.PID) == nil {
			_ = syscall.Kill(-p.PID, syscall.SIGKILL)
		}
		p.err = cmd.Wait()
		close(p.ended)
	}()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, p)
	return p, nil
}

// Close stops all that still runs.
func (s *Starter) Close() {
	s.mu.Lock()
	all := s.all
	s.mu.Unlock()
	for i := len(all) - 1; i >= 0; i-- {
		all[i].Stop()
	}
	s.once.Do(func() { close(s.work) })
}

// Wait waits for the end of the process.
func (p *Process) Wait() error {
	<-p.ended
	return p.err
}

// Ended is closed once the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Stop ends the process, with force after five seconds, and then its group. It
// may be called again.
func (p *Process) Stop() {
	_ = p.self.Signal(syscall.SIGTERM) // an error means that it has ended
	select {
	case <-p.ended:
	case <-time.After(5 * time.Second):
		_ = p.self.Kill()
	}
	<-p.ended
}

// awaitExit waits for the end of a child without taking its status: until
// somebody does, the kernel gives its number to no other.
func awaitExit(pid int) error {
	const byPID, exited, leave = 1, 0x4, 0x1000000 // P_PID, WEXITED, WNOWAIT
	var info [128]byte                             // siginfo_t
	for {
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, byPID, uintptr(pid), uintptr(unsafe.Pointer(&info)), exited|leave, 0, 0)
		switch errno {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return fmt.Errorf("waitid: %w", errno)
		}
	}
}

// set is a kernel's mask of 1,024 cores.
type set [1024 / 64]uint64

// pin binds the calling thread, and what it starts, to cores.
func pin(cores []int) error {
	var mask set
	for _, c := range cores {
		mask[c/64] |= 1 << (c % 64)
	}
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	if errno != 0 {
		return fmt.Errorf("sched_setaffinity %v: %w", cores, errno)
	}
	return nil
}

// Cores lists the cores that this process may use.
func Cores() ([]int, error) {
	var mask set
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_GETAFFINITY, 0, unsafe.Sizeof(mask), uintptr(unsafe.Pointer(&mask)))
	if errno != 0 {
		return nil, fmt.Errorf("sched_getaffinity: %w", errno)
	}
	var cores []int
	for c := range len(mask) * 64 {
		if mask[c/64]&(1<<(c%64)) != 0 {
			cores = append(cores, c)
		}
	}
	return cores, nil
}
