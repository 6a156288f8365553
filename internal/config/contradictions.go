package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

// contradictions finds values that are right alone and wrong together.
func (c *Config) contradictions() Problems {
	var ps Problems
	for _, pair := range [][2]string{{"ssl_cert", "ssl_cert_key"}, {"admin_ssl_cert", "admin_ssl_cert_key"}} {
		certs, keys := c.list(pair[0]), c.list(pair[1])
		if len(certs) != len(keys) {
			ps = append(ps, fmt.Errorf("%s names %d files and %s %d: every certificate needs its key", pair[0], len(certs), pair[1], len(keys)))
		}
	}
	if c.Expect() > 0 && len(c.Join()) == 0 {
		ps = append(ps, errors.New("expect needs join: the other nodes' addresses, the same line on every node"))
	}
	if addr := c.ClusterListen(); addr == "" {
		ps = append(ps, errors.New("cluster_listen must be host:port"))
	} else if !loopback(addr) && !c.InsecureCluster() {
		ps = append(ps, fmt.Errorf("cluster_listen %s is reachable from other hosts and the cluster port has no encryption or authentication yet: "+
			"whoever reaches it can change the configuration; on a network you trust, say insecure_cluster (--insecure-cluster)", addr))
	}
	if c.DataDir() == "" {
		ps = append(ps, errors.New("data_dir must not be empty"))
	}
	return append(ps, c.sharedPorts()...)
}

// loopback says whether only this host can reach the address.
func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// sharedPorts finds addresses that two listeners of the node want.
func (c *Config) sharedPorts() []error {
	var problems []error
	owner := map[string]string{c.ClusterListen(): "cluster_listen"}
	for _, name := range []string{"proxy_listen", "admin_listen"} {
		for _, l := range c.listen(name) {
			_, port, _ := net.SplitHostPort(l.Addr)
			if first := owner[l.Addr]; first != "" && port != "0" {
				problems = append(problems, fmt.Errorf("%s and %s both want %s", first, name, l.Addr))
			}
			owner[l.Addr] = name
		}
	}
	return problems
}
