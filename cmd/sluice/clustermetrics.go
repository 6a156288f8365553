package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluicegate/sluice/cluster"
)

// clusterMetrics exports cluster.Stats at every scrape.
type clusterMetrics struct {
	node    *cluster.Node
	gauges  []clusterGauge
	state   *prometheus.Desc
	applies *prometheus.Desc
}

type clusterGauge struct {
	desc  *prometheus.Desc
	value func(cluster.Stats) float64
}

// raftStates are the values of the label state; the current one is 1.
func raftStates() []string { return []string{"Follower", "Candidate", "Leader", "Shutdown"} }

func newClusterMetrics(node *cluster.Node) *clusterMetrics {
	gauge := func(name, help string, value func(cluster.Stats) float64) clusterGauge {
		return clusterGauge{desc: prometheus.NewDesc(name, help, nil, nil), value: value}
	}
	return &clusterMetrics{
		node:    node,
		state:   prometheus.NewDesc("sluice_raft_state", "1 for the raft state that this node is in.", []string{"state"}, nil),
		applies: prometheus.NewDesc("sluice_raft_apply_seconds", "Time that commands took which this node committed as leader.", nil, nil),
		gauges: []clusterGauge{
			gauge("sluice_raft_term", "Raft term.", func(s cluster.Stats) float64 { return float64(s.Term) }),
			gauge("sluice_raft_commit_index", "Last log index known to be committed.", func(s cluster.Stats) float64 { return float64(s.CommitIndex) }),
			gauge("sluice_raft_applied_index", "Last log index applied.", func(s cluster.Stats) float64 { return float64(s.AppliedIndex) }),
			gauge("sluice_raft_last_contact_seconds", "Time since the leader was heard; 0 on the leader, -1 if never.", func(s cluster.Stats) float64 { return s.LastContact }),
			gauge("sluice_raft_snapshot_index", "Last change of an entity that the newest snapshot on disk holds.", func(s cluster.Stats) float64 { return float64(s.SnapshotIndex) }),
			gauge("sluice_raft_snapshot_seconds", "Time that the last snapshot took to write.", func(s cluster.Stats) float64 { return s.SnapshotSeconds }),
			gauge("sluice_cluster_voters", "Members with a vote.", func(s cluster.Stats) float64 { return float64(s.Voters) }),
			gauge("sluice_cluster_nonvoters", "Members without a vote.", func(s cluster.Stats) float64 { return float64(s.Nonvoters) }),
			gauge("sluice_cluster_failure_tolerance", "Voters that may still be lost before writes stop; negative when they have.", func(s cluster.Stats) float64 { return float64(s.FailureTolerance) }),
			gauge("sluice_cluster_members", "Nodes that gossip finds alive, this one included.", func(s cluster.Stats) float64 { return float64(s.Members) }),
			gauge("sluice_gossip_health_score", "Gossip's doubt of this node itself; 0 is well.", func(s cluster.Stats) float64 { return float64(s.HealthScore) }),
			gauge("sluice_cluster_sealed", "1 if what this node stores of the configuration now is sealed with its first encryption key.", func(s cluster.Stats) float64 {
				if s.Sealed {
					return 1
				}
				return 0
			}),
			gauge("kong_datastore_reachable", "1 if the configuration can be written, which takes a leader.", func(s cluster.Stats) float64 {
				if s.LastContact >= 0 && node.HasLeader() {
					return 1
				}
				return 0
			}),
		},
	}
}

// Describe is for prometheus.Collector.
func (m *clusterMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.state
	ch <- m.applies
	for _, g := range m.gauges {
		ch <- g.desc
	}
}

// Collect is for prometheus.Collector.
func (m *clusterMetrics) Collect(ch chan<- prometheus.Metric) {
	stats := m.node.Stats()
	for _, state := range raftStates() {
		value := 0.0
		if state == stats.State {
			value = 1
		}
		ch <- prometheus.MustNewConstMetric(m.state, prometheus.GaugeValue, value, state)
	}
	ch <- prometheus.MustNewConstSummary(m.applies, stats.Applies, stats.ApplySeconds, nil)
	for _, g := range m.gauges {
		ch <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, g.value(stats))
	}
}
