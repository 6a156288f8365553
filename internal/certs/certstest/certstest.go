// Package certstest makes certificates for tests: authorities, and what they sign. Nothing here is for use
// outside tests: keys are made fast rather than kept well, and a failure panics.
package certstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"sync"
	"time"
)

// Pair is a certificate with its key. Cert holds the leaf and the intermediates that lead to the root, in
// PEM; Key is PKCS #8 in PEM.
type Pair struct {
	Cert, Key string
	Leaf      *x509.Certificate
	Signer    crypto.Signer

	chain string // what a certificate signed by this one sends along: "" for a root
}

// Option changes a certificate before it is signed.
type Option func(*template)

type template struct {
	x509.Certificate
	rsa bool
}

// RSA gives the certificate an RSA key in place of one on P-256.
func RSA(t *template) { t.rsa = true }

// CA makes the certificate an authority.
func CA(t *template) {
	t.IsCA = true
	t.KeyUsage |= x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	t.ExtKeyUsage = nil
}

// Names sets the DNS names; without, the common name is the only one.
func Names(names ...string) Option { return func(t *template) { t.DNSNames = names } }

// URIs sets the URIs, as the names of workloads are.
func URIs(uris ...string) Option {
	return func(t *template) {
		for _, u := range uris {
			t.URIs = append(t.URIs, must(url.Parse(u)))
		}
	}
}

// IPs sets the IP addresses, in text.
func IPs(addrs ...string) Option {
	return func(t *template) {
		for _, a := range addrs {
			t.IPAddresses = append(t.IPAddresses, net.ParseIP(a))
		}
	}
}

// Valid sets the time of validity; without, it is from an hour ago for a century.
func Valid(from, to time.Time) Option {
	return func(t *template) { t.NotBefore, t.NotAfter = from, to }
}

// ExtKeyUsage sets what the certificate may be used for; without, it is TLS on
// either side.
func ExtKeyUsage(uses ...x509.ExtKeyUsage) Option {
	return func(t *template) { t.Certificate.ExtKeyUsage = uses }
}

// OCSP names responders, by URL.
func OCSP(urls ...string) Option { return func(t *template) { t.OCSPServer = urls } }

// MustStaple adds the TLS feature extension with status_request (RFC 7633).
func MustStaple(t *template) {
	t.ExtraExtensions = append(t.ExtraExtensions, pkix.Extension{
		Id: []int{1, 3, 6, 1, 5, 5, 7, 1, 24}, Value: []byte{0x30, 0x03, 0x02, 0x01, 0x05},
	})
}

// Root makes an authority that signs itself.
func Root(name string, options ...Option) *Pair {
	return issue(nil, name, append([]Option{CA}, options...))
}

// SelfSigned makes a certificate that signs itself and is no authority.
func SelfSigned(name string, options ...Option) *Pair { return issue(nil, name, options) }

// Issue makes a certificate that p signs.
func (p *Pair) Issue(name string, options ...Option) *Pair { return issue(p, name, options) }

// Pool holds only this certificate.
func (p *Pair) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(p.Leaf)
	return pool
}

// TLS is the pair as crypto/tls takes it.
func (p *Pair) TLS() tls.Certificate {
	return must(tls.X509KeyPair([]byte(p.Cert), []byte(p.Key)))
}

func issue(by *Pair, name string, options []Option) *Pair {
	t := &template{Certificate: x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))),
		Subject:      pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(100, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}}
	for _, o := range options {
		o(t)
	}
	key := newKey(t.rsa)
	parent, signer := &t.Certificate, key
	if by != nil {
		parent, signer = by.Leaf, by.Signer
	}
	der := must(x509.CreateCertificate(rand.Reader, &t.Certificate, parent, key.Public(), signer))
	p := &Pair{Leaf: must(x509.ParseCertificate(der)), Signer: key}
	p.Cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	if by != nil {
		p.Cert += by.chain
		p.chain = p.Cert
	}
	p.Key = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(key))}))
	return p
}

// rsaKey is made once: that takes longer than everything else here.
var rsaKey = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func newKey(wantRSA bool) crypto.Signer {
	if wantRSA {
		return rsaKey()
	}
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
