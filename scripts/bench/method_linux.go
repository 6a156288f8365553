package main

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// method tells a reader what the figures are.
const method = `## How it was measured

- Every proxy stands between the same generator and the same service, each one thread around epoll in a process of its own, over loopback. Every answer is checked: status, Content-Length and each byte of the body; one wrong answer fails the run. The service checks each byte of a POST.
- One core: the proxy is bound to the first core, generator and service to the second. Two cores: nginx with two workers, haproxy with two threads, Sluice as it is; generator and service have two other cores, or on a machine of two share those of the proxy, and the latency has in it how long the generator and the service wait for a core themselves.
- CPU is the time of all threads of all the proxy's processes (schedstat) between the first and the last request that count, over the number of requests. Where threads ended it is /proc/PID/stat's, to 10 ms.
- Saturation: each connection sends its next request on the answer. At a fixed rate requests are due at even distances, and latency counts from then, also for those that waited for a connection (64 of them). The generator sleeps in epoll_pwait2 with 1 ns of timer slack; how late it still sent is in the table of all figures.
- A round measures each proxy once; the order rotates. The rows of CPU have four sets of rounds of a quarter of the time (but for HTTP/2), those of p99 three sets of rounds of half the time; each set has new processes, the service among them. All of a set run all the time and are idle while they are not measured. A sample in which more than 5 % of the machine went to others (busy time in /proc/stat, stolen time included, less the proxy's and the benchmark's own) is repeated at most twice, and marked if it stays so.
- Apart: how long a change of memory by one core takes to be seen by the other, before and after each sample. A host may move the cores of a virtual machine to where they share no cache, for seconds or minutes; all that crosses between proxy and load is slower then. Such rounds count, and the row tells of them.
- All: the same request headers, ten routes by path of which each is asked in turn, connections to clients and to the service kept alive, the same ECDSA P-256 certificate and TLS_AES_128_GCM_SHA256 (h2load chooses for Go, which prefers the same), access logs off but where the row says so. Also the works with plugins send nginx the key that only Sluice looks at.
- nginx is bare: proxy_set_header Connection "" and nothing else, so it adds none of the X-Forwarded-* and X-Real-IP that Sluice, like Kong, sends to the service. Its buffers hold the 100 KB answer. haproxy: http-reuse always.
- Sluice's metrics are on, always; it is configured over its Admin API and otherwise as it comes.
- RSS is smaps_rollup's, added up over the processes, two seconds after the last of the connections was opened; each has had one request.
- Slow clients: 1,000 dribble a head and 1,000 a body of 10 KB, a byte a second each, two of them in every millisecond, and 20 ask for 20 MB and read nothing; the same process is measured without them in the same round.
- The relay is a thread around epoll that reads what comes and writes it to the other side: no request is parsed. It shows how much of nginx's time a proxy can spare on this machine by its own work, and how much is the kernel's for any that asks it in this way.
- HTTP/2 is h2load's; its 32 handshakes are part of all proxies' time.
- The rows of 5,000 routes compare the whole request: the router's own share cannot be seen from outside, see make microbench. Where all 5,000 are asked in turn, each request also finds its route's data out of the processor's cache.
`

// machineText is the machine and the versions.
func (b *bench) machineText() string {
	model, kernel := "unknown processor", ""
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		if m := regexp.MustCompile(`(?m)^model name\s*: (.*)$`).FindSubmatch(text); m != nil {
			model = string(m[1])
		}
	}
	if text, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		kernel = strings.TrimSpace(string(text))
	}
	parts := []string{fmt.Sprintf("%s, %d cores, Linux %s", model, b.coreCount, kernel)}
	for _, tool := range [][]string{{b.tools.nginx, "-v"}, {b.tools.haproxy, "-v"}, {b.tools.h2load, "--version"}, {b.tools.redis, "--version"}, {b.opts.sluice, "version"}} {
		if tool[0] == "" {
			continue
		}
		out, err := exec.Command(tool[0], tool[1:]...).CombinedOutput()
		if line, _, _ := strings.Cut(string(out), "\n"); err == nil {
			parts = append(parts, strings.TrimSpace(strings.TrimPrefix(line, "nginx version: ")))
		}
	}
	return strings.Join(parts, "; ") + "."
}
