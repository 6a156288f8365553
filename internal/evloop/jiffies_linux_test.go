package evloop

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestJiffies: a loop that waits often has an alarm at the end of this period at each
// wait, and one that waits now and then never has one.
func TestJiffies(t *testing.T) {
	const period, ahead = Time(4 * time.Millisecond), Time(1_234_567_891_234)
	for every, often := range map[time.Duration]bool{
		37 * time.Microsecond: true, 900 * time.Microsecond: true, 1400 * time.Microsecond: false, 9 * time.Millisecond: false,
	} {
		j := jiffies{period: period, ahead: ahead}
		set := map[Time]bool{}
		for now := Time(0); now < 20*period; now += Time(every) {
			if j.waits++; now >= j.end {
				set[j.nextPeriod(now)] = true
			}
			system := now + ahead
			end := system - system%period + period
			if covered := set[end]; covered != often && now > 3*period {
				t.Fatalf("every %v: at %v an alarm at the end of the period: %v", every, time.Duration(now), covered)
			}
		}
	}
}

// TestJiffiesSetAlarms: one alarm after the other is set, when a period begins.
func TestJiffiesSetAlarms(t *testing.T) {
	var j jiffies
	if err := j.open(&Group{start: time.Now()}); err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, fd := range j.alarms {
			if err := syscall.Close(fd); err != nil {
				t.Error(err)
			}
		}
	}()
	// Whatever this system's tick is, and so far ahead that none goes off.
	j.period, j.ahead = Time(4*time.Millisecond), clock(syscall.SYS_CLOCK_GETTIME, clockMonotonic)+Time(time.Hour)
	for i := range 2 {
		j.waits = worthAlarm
		j.beforeWait(j.end)
		for k, fd := range j.alarms {
			left := left(t, fd)
			if k > i != (left == 0) || left > time.Hour+3*time.Duration(j.period) {
				t.Errorf("after %d periods alarm %d is set for %v", i+1, k, left)
			}
		}
	}
}

// left is how long it is until an alarm goes off, 0 if it will not.
func left(t *testing.T, fd int) time.Duration {
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		t.Fatal(err)
	}
	_, value, found := strings.Cut(string(info), "it_value: ")
	var s, ns int64
	if _, err := fmt.Sscanf(value, "(%d, %d)", &s, &ns); !found || err != nil {
		t.Fatalf("%q: %v", info, err)
	}
	return time.Duration(s*1e9 + ns)
}
