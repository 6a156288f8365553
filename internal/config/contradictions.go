package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// contradictions finds values that are right alone and wrong together.
func (c *Config) contradictions() Problems {
	var ps Problems
	for _, pair := range [][2]string{{"ssl_cert", "ssl_cert_key"}, {"admin_ssl_cert", "admin_ssl_cert_key"}, {"status_ssl_cert", "status_ssl_cert_key"}} {
		certs, keys := c.list(pair[0]), c.list(pair[1])
		if len(certs) != len(keys) {
			ps = append(ps, fmt.Errorf("%s names %d files and %s %d: every certificate needs its key", pair[0], len(certs), pair[1], len(keys)))
		}
	}
	ps = append(ps, c.tlsProblems()...)
	if c.Expect() > 0 && len(c.Join()) == 0 {
		ps = append(ps, errors.New("expect needs join: the other nodes' addresses, the same line on every node"))
	}
	if c.Expect() > c.MaxVoters() {
		ps = append(ps, fmt.Errorf("expect %d is more than the %d voters that max_voters allows", c.Expect(), c.MaxVoters()))
	}
	if addr := c.ClusterListen(); addr == "" {
		ps = append(ps, errors.New("cluster_listen must be host:port"))
	} else if !loopback(addr) && !c.InsecureCluster() {
		ps = append(ps, fmt.Errorf("cluster_listen %s is reachable from other hosts and the cluster port has no encryption or authentication yet: "+
			"whoever reaches it can change the configuration; on a network you trust, say insecure_cluster (--insecure-cluster)", addr))
	}
	if strings.EqualFold(c.RealIPHeader(), realIPProxyProtocol) && !c.proxyProtocol() {
		ps = append(ps, errors.New("real_ip_header is proxy_protocol and no address of proxy_listen has the flag proxy_protocol"))
	}
	if slices.ContainsFunc(c.AdminListen(), func(l Listener) bool { return l.ProxyProtocol }) {
		ps = append(ps, errors.New("admin_listen: the flag proxy_protocol is not supported for the Admin API"))
	}
	if slices.ContainsFunc(c.StatusListen(), func(l Listener) bool { return l.ProxyProtocol }) {
		ps = append(ps, errors.New("status_listen: the flag proxy_protocol is not supported for the Status API"))
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
	type claim struct{ setting, addr string }
	claims := []claim{{"cluster_listen", c.ClusterListen()}}
	for _, name := range []string{"proxy_listen", "admin_listen", "status_listen"} {
		for _, l := range c.listen(name) {
			claims = append(claims, claim{name, l.Addr})
		}
	}
	var problems []error
	for i, b := range claims {
		for _, a := range claims[:i] {
			switch {
			case a.addr == b.addr && !anyPort(a.addr):
				problems = append(problems, fmt.Errorf("%s and %s both want %s", a.setting, b.setting, a.addr))
			case overlap(a.addr, b.addr):
				problems = append(problems, fmt.Errorf("%s %s and %s %s want the same port", a.setting, a.addr, b.setting, b.addr))
			}
		}
	}
	return problems
}

func anyPort(addr string) bool {
	_, port, _ := net.SplitHostPort(addr)
	return port == "0"
}

// overlap says whether two addresses cannot both be listened on because one is
// all of the host's addresses and the other one of them.
func overlap(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" || hostA == hostB {
		return false
	}
	return includes(hostA, hostB) || includes(hostB, hostA)
}

// includes says whether one is an address that all stands for: none is both
// families, 0.0.0.0 is IPv4's, :: is IPv6's. What a name stands for is not known
// here, except for localhost.
func includes(all, one string) bool {
	ip, err := netip.ParseAddr(one)
	if one == "localhost" {
		ip, err = netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	switch all {
	case "":
		return true
	case "0.0.0.0":
		return err == nil && ip.Unmap().Is4()
	case "::":
		return err == nil && !ip.Unmap().Is4()
	}
	return false
}
