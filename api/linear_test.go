package api

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/sluicegate/sluice/cluster"
	"github.com/sluicegate/sluice/cluster/memnet"
	"github.com/sluicegate/sluice/fsm"
)

// What three nodes answer while the network fails is what one of them could have answered, one request after the
// other: a child that is made while its parent is deleted is refused, or it is there and keeps the parent (a route
// of a service), or goes with it (a key of a consumer). Nothing is left without its parent, and no answer is of
// something that never was.

// family is a parent and its children, as a history sees it.
type family struct {
	parent   bool
	children uint8 // one bit each
}

// lineage says where a kind of family is, and whether children go with their parent or keep it.
type lineage struct {
	collection, parent, nested, children string
	field                                string // that names a child
	cascade                              bool
}

var lineages = []lineage{
	{collection: "/services", parent: "name=p&host=h", nested: "/services/p/routes", children: "/routes", field: "name"},
	{collection: "/consumers", parent: "username=p", nested: "/consumers/p/key-auth", children: "/key-auths", field: "key", cascade: true},
}

// familyInput is a request: what it does, and to which child.
type familyInput struct {
	of    int // lineages
	verb  string
	child int
}

const (
	makeParent   = "make"
	dropParent   = "drop"
	makeChild    = "bear"
	dropChild    = "lose"
	lookAtParent = "look"
	lookAtChild  = "find"
	childCount   = 2
	// anything stands for an answer that was lost, or that says that nobody knows.
	anything = 0
)

// request gives the method, path and body.
func (in familyInput) request() (method, path, body string) {
	l := &lineages[in.of]
	child := fmt.Sprintf("c%d", in.child)
	switch in.verb {
	case makeParent:
		return "POST", l.collection, l.parent
	case dropParent:
		return "DELETE", l.collection + "/p", ""
	case makeChild:
		body = l.field + "=" + child
		if l.field == "name" {
			body += "&paths[]=/x"
		}
		return "POST", l.nested, body
	case dropChild:
		return "DELETE", l.children + "/" + child, ""
	case lookAtChild:
		return "GET", l.children + "/" + child + "?consistency=strong", ""
	}
	return "GET", l.collection + "/p?consistency=strong", ""
}

// next gives the status that a request must have in a state, and the state after it.
func (s family) next(in familyInput) (int, family) {
	bit := uint8(1) << in.child
	has := s.children&bit != 0
	switch in.verb {
	case makeParent:
		if s.parent {
			return http.StatusConflict, s
		}
		s.parent = true
		return http.StatusCreated, s
	case dropParent:
		if s.children != 0 && !lineages[in.of].cascade {
			return http.StatusBadRequest, s
		}
		return http.StatusNoContent, family{}
	case makeChild:
		switch {
		case !s.parent:
			return http.StatusNotFound, s
		case has:
			return http.StatusConflict, s
		}
		s.children |= bit
		return http.StatusCreated, s
	case dropChild:
		s.children &^= bit
		return http.StatusNoContent, s
	case lookAtChild:
		if has {
			return http.StatusOK, s
		}
		return http.StatusNotFound, s
	}
	if s.parent {
		return http.StatusOK, s
	}
	return http.StatusNotFound, s
}

var familyModel = (&porcupine.NondeterministicModel{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := make([][]porcupine.Operation, len(lineages))
		for _, op := range history {
			of := op.Input.(familyInput).of
			parts[of] = append(parts[of], op)
		}
		return parts
	},
	Init: func() []any { return []any{family{}} },
	Step: func(state, input, output any) []any {
		want, next := state.(family).next(input.(familyInput))
		switch {
		case output == anything && next == state:
			return []any{state}
		case output == anything: // it may have happened
			return []any{state, next}
		case output == want:
			return []any{next}
		}
		return nil
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %v", input, output) },
}).ToModel()

// lab is three nodes with their APIs on a network in memory, in virtual time.
type lab struct {
	t     *testing.T
	net   *memnet.Net
	nodes []*cluster.Node
	apis  []*API

	mu      sync.Mutex
	history []porcupine.Operation
	begin   time.Time
}

// labCluster is a node as its API sees it.
type labCluster struct{ *cluster.Node }

func (c labCluster) Status() any { return c.Node.Status() }

func newLab(t *testing.T, seed uint64) *lab {
	l := &lab{t: t, net: memnet.New(seed), begin: time.Now()}
	join := []string{"10.0.0.1:8005", "10.0.0.2:8005", "10.0.0.3:8005"}
	for i, address := range join {
		machine, err := fsm.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		n, err := cluster.Open(t.Context(), cluster.Config{
			DataDir: t.TempDir(), NodeName: fmt.Sprintf("n%d", i+1), Listen: address, Insecure: true, Join: join, Expect: len(join),
			Network: l.net.Host(strings.TrimSuffix(address, ":8005")), Machine: machine, Timing: cluster.Timing{Commit: 20 * time.Millisecond},
		})
		if err != nil {
			t.Fatal(err)
		}
		l.nodes = append(l.nodes, n)
		l.apis = append(l.apis, New(Config{Cluster: labCluster{n}, Machine: machine}))
	}
	return l
}

func (l *lab) stop() {
	l.net.Heal()
	for _, n := range l.nodes {
		if err := n.Shutdown(context.Background()); err != nil {
			l.t.Errorf("shutdown of %s: %v", n.Name(), err)
		}
	}
	time.Sleep(time.Minute) // of virtual time, in which gossip's last probes end
}

// ask sends a request to a node and notes what came of it.
func (l *lab) ask(client, node int, in familyInput) int {
	method, path, body := in.request()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", formType)
	}
	w := httptest.NewRecorder()
	call := time.Since(l.begin)
	l.apis[node].Handler().ServeHTTP(w, r)
	op := porcupine.Operation{ClientId: client, Input: in, Call: call.Nanoseconds(), Output: w.Code, Return: time.Since(l.begin).Nanoseconds()}
	if w.Code >= 500 {
		op.Output = anything
		if method == "GET" {
			return w.Code // nothing was seen
		}
		op.Return = int64(24 * time.Hour) // it may yet happen
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.history = append(l.history, op)
	return w.Code
}

// work sends requests for a while, to whichever node.
func (l *lab) work(client int, r *rand.Rand, d time.Duration) {
	verbs := []string{makeParent, makeParent, dropParent, makeChild, makeChild, makeChild, dropChild, dropChild, lookAtParent, lookAtChild}
	for time.Since(l.begin) < d {
		in := familyInput{of: r.IntN(len(lineages)), verb: verbs[r.IntN(len(verbs))], child: r.IntN(childCount)}
		if l.ask(client, r.IntN(len(l.apis)), in) >= 500 {
			time.Sleep(200 * time.Millisecond)
		}
		time.Sleep(time.Duration(r.IntN(60)) * time.Millisecond)
	}
}

// trouble cuts nodes off, one after the other, with pauses.
func (l *lab) trouble(r *rand.Rand, d time.Duration) {
	first := true
	for time.Since(l.begin) < d {
		time.Sleep(time.Duration(1000+r.IntN(2000)) * time.Millisecond)
		alone := 1 + r.IntN(3)
		var rest []string
		for i := 1; i <= 3; i++ {
			if i != alone {
				rest = append(rest, fmt.Sprintf("10.0.0.%d", i))
			}
		}
		l.net.Partition([]string{fmt.Sprintf("10.0.0.%d", alone)}, rest)
		length := 200 + r.IntN(2500)
		if first {
			length, first = 6000, false // longer than a write is held
		}
		time.Sleep(time.Duration(length) * time.Millisecond)
		l.net.Heal()
	}
}

// TestFamiliesAreLinearizable holds what clients of three nodes saw against the model.
func TestFamiliesAreLinearizable(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			var history []porcupine.Operation
			synctest.Test(t, func(t *testing.T) { history = familyHistory(t, seed) })
			// Out there time is real. A check that takes this long is not of a history that is right:
			// those take milliseconds.
			if result := porcupine.CheckOperationsTimeout(familyModel, history, time.Minute); result != porcupine.Ok {
				t.Errorf("what was answered is not what one node could have answered: %s", result)
			}
		})
	}
}

// familyHistory is what clients of three nodes saw.
func familyHistory(t *testing.T, seed uint64) []porcupine.Operation {
	l := newLab(t, seed)
	defer l.stop()
	for time.Since(l.begin) < 30*time.Second && l.ask(0, 0, familyInput{verb: makeParent}) >= 500 {
		time.Sleep(100 * time.Millisecond)
	}
	const clients = 5
	end := time.Since(l.begin) + 12*time.Second
	var all sync.WaitGroup
	all.Go(func() { l.trouble(rand.New(rand.NewPCG(seed, 99)), end) })
	for i := range clients {
		all.Go(func() { l.work(1+i, rand.New(rand.NewPCG(seed, uint64(i))), end) })
	}
	all.Wait()
	known := 0
	statuses := map[int]int{}
	for _, op := range l.history {
		statuses[op.Output.(int)]++
		if op.Output != anything {
			known++
		}
	}
	t.Logf("%d requests, by status %v", len(l.history), statuses)
	if known < 200 || statuses[http.StatusBadRequest] == 0 || statuses[http.StatusNotFound] == 0 {
		t.Errorf("too little was answered to prove anything: %v", statuses)
	}
	return l.history
}
