package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"text/tabwriter"
	"time"
)

// devPoll is how often sluice dev looks whether the cluster is there.
const devPoll = 50 * time.Millisecond

// awaitCluster returns once every node knows a leader and all the others, and
// every proxy answers.
func awaitCluster(ctx context.Context, nodes []*devNode) error {
	client := &http.Client{Timeout: 2 * time.Second}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(devPoll)
	defer tick.Stop()
	waiting := "the nodes to start"
	for {
		if waiting = whatIsMissing(ctx, client, nodes); waiting == "" {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the cluster is not ready after %s: still waiting for %s", devReady, waiting)
		case <-tick.C:
		}
	}
}

// whatIsMissing names the first thing that is not ready, or "".
func whatIsMissing(ctx context.Context, client *http.Client, nodes []*devNode) string {
	for _, n := range nodes {
		// Its ports alone prove nothing: others may answer there, and this
		// node be about to say so.
		if !n.up() {
			return n.name + " to start"
		}
		admin := &adminClient{base: n.adminURL, http: client}
		var cluster clusterStatus
		if err := admin.call(ctx, http.MethodGet, "/cluster", nil, &cluster); err != nil {
			return n.name + "'s Admin API"
		}
		alive := 0
		for _, m := range cluster.Nodes {
			if m.State == "alive" {
				alive++
			}
		}
		if alive < len(nodes) {
			return fmt.Sprintf("%s to find the others", n.name)
		}
		if cluster.Leader == "" || !cluster.Quorum {
			return "a leader"
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, n.httpURL, nil)
		if err != nil {
			return n.name
		}
		resp, err := client.Do(req)
		if err != nil {
			return n.name + "'s proxy"
		}
		resp.Body.Close()
	}
	return ""
}

// devScreen says where everything is and what to try.
func devScreen(out io.Writer, nodes []*devNode, upstream string, o devOptions) {
	fmt.Fprintf(out, "\nSluice is up: %s.\n\n", count(len(nodes), "node"))
	table := tabwriter.NewWriter(out, 2, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  \tPROXY\tPROXY TLS\tADMIN API\tADMIN TLS\tPID")
	for _, n := range nodes {
		fmt.Fprintf(table, "  %s\t%s\t%s\t%s\t%s\t%d\n", n.name, n.httpURL, n.httpsURL, n.adminURL, n.adminsURL, n.cmd.Process.Pid)
	}
	table.Flush()
	fmt.Fprintf(out, "\n  data and settings  %s\n  logs               %s\n", shorten(o.dir), filepath.Join(shorten(o.dir), "node*", "logs", "*.log"))
	target := upstream
	if target == "" {
		target = fmt.Sprintf("http://localhost:%d", 5000+o.offset)
	} else {
		fmt.Fprintf(out, "  demo upstream      %s\n", upstream)
	}
	n1 := nodes[0]
	self := n1.program()
	fmt.Fprintf(out, "\nTry it in another terminal (any node takes any of this):\n\n")
	if upstream == "" {
		fmt.Fprintf(out, "  %s demo-upstream --listen localhost:%d &\n", self, 5000+o.offset)
	}
	fmt.Fprintf(out, "  curl -i -X POST %s/services --data name=student-service --data url='%s'\n", n1.adminURL, target)
	fmt.Fprintf(out, "  curl -i -X POST %s/services/student-service/routes --data 'paths[]=/students'\n", n1.adminURL)
	fmt.Fprintf(out, "  curl -i -X POST %s/services/student-service/plugins --data name=jwt\n", n1.adminURL)
	fmt.Fprintf(out, "  curl -i -X POST %s/services/student-service/plugins --data name=rate-limiting --data config.minute=5 --data config.policy=local\n\n", n1.adminURL)
	fmt.Fprintf(out, "  TOKEN=$(%s jwt --consumer alice%s)\n", self, adminHint(n1))
	for _, n := range nodes {
		fmt.Fprintf(out, "  curl -i -H \"Authorization: Bearer $TOKEN\" %s/students\n", n.httpURL)
	}
	last := nodes[len(nodes)-1]
	fmt.Fprintf(out, "\n  %s status --admin %s\n", self, last.adminURL)
	if len(nodes) > 2 {
		fmt.Fprintf(out, "  kill -9 %d      # pull a plug: the others go on\n  %s      # and put it back\n", last.cmd.Process.Pid, last.startLine())
	}
	fmt.Fprintf(out, "\nCtrl-C stops all of it.\n")
}

// adminHint is the flag for an Admin API that is not where Kong's is.
func adminHint(n *devNode) string {
	if n.adminURL == defaultAdminURL {
		return ""
	}
	return " --admin " + n.adminURL
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
