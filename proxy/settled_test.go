package proxy

import "testing"

// TestUnsettled: what the configuration once was is not served by a node that is on
// its way to the newest one.
func TestUnsettled(t *testing.T) {
	w := newWorld(t)
	settled := make(chan struct{})
	w.config.Settled = settled
	w.route("", object{"paths": []string{"/old"}})
	w.start()
	w.get("/old").want(t, 503, "this node has no configuration yet")
	w.apply(w.op("routes", object{"paths": []string{"/new"}}))
	w.get("/new").want(t, 503, "this node has no configuration yet")
	if w.proxy.Ready() {
		t.Error("the proxy is ready")
	}
	close(settled)
	eventually(t, "the newest configuration", func() bool { return w.proxy.Ready() })
	w.get("/new").want(t, 503, "no Service found")
	w.get("/none").want(t, 404, "no Route matched")
}

// TestUnsettledEmpty: a cluster's configuration may be that there is nothing.
func TestUnsettledEmpty(t *testing.T) {
	w := newWorld(t)
	settled := make(chan struct{})
	w.config.Settled = settled
	w.start()
	w.get("/").want(t, 503, "this node has no configuration yet")
	close(settled)
	eventually(t, "the proxy to be ready", func() bool { return w.proxy.Ready() })
	w.get("/").want(t, 404, "no Route matched")
}

// TestUnsettledBegin: a node that was here before serves what it knows until it has
// heard of the rest, all of it at once.
func TestUnsettledBegin(t *testing.T) {
	w := newWorld(t)
	settled := make(chan struct{})
	w.config.Settled = settled
	w.route("", object{"paths": []string{"/known"}})
	w.config.Begin = w.machine.View()
	w.route("", object{"paths": []string{"/missed"}})
	w.start()
	w.get("/known").want(t, 503, "no Service found")
	w.get("/missed").want(t, 404, "")
	close(settled)
	eventually(t, "the proxy to be ready", func() bool { return w.proxy.Ready() && w.proxy.Index() == w.machine.ConfigIndex() })
	w.get("/missed").want(t, 503, "no Service found")
}
