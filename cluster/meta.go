package cluster

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"

	"github.com/google/uuid"

	"github.com/sluicegate/sluice/internal/seal"
)

// maxMeta is memberlist's limit for what gossip carries of a node, in bytes;
// it panics above.
const maxMeta = 512

// meta is what a node says of itself in gossip.
type meta struct {
	Name    string `json:"n,omitempty"`
	Address string `json:"a"`
	Voter   bool   `json:"v,omitempty"`
	// Configured says that the node has a raft configuration: there is a
	// cluster already, and nobody may form a new one next to it.
	Configured bool   `json:"c,omitempty"`
	Expect     int    `json:"e,omitempty"`
	Cluster    string `json:"i,omitempty"`
	// Keys are the ids of the encryption keys that the node has, by commas, the
	// first the one that it seals with.
	Keys string `json:"k,omitempty"`
}

// encode gives the metadata, without the name if it does not fit otherwise.
func (m meta) encode() []byte {
	data, err := json.Marshal(m)
	if err == nil && len(data) > maxMeta {
		m.Name = ""
		data, err = json.Marshal(m)
	}
	if err != nil || len(data) > maxMeta {
		return nil // cannot happen: an address is at most 261 bytes, an id 36, all keys 103
	}
	return data
}

// decodeMeta reads another node's metadata.
func decodeMeta(data []byte) (meta, error) {
	var m meta
	if len(data) > maxMeta {
		return m, fmt.Errorf("metadata of %d bytes", len(data))
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, fmt.Errorf("metadata: %w", err)
	}
	if _, _, err := net.SplitHostPort(m.Address); err != nil {
		return m, fmt.Errorf("metadata: address %q: %w", m.Address, err)
	}
	if len(m.Name) > maxName || !namePattern.MatchString(m.Name) {
		return m, fmt.Errorf("metadata: name %q", m.Name)
	}
	if m.Cluster != "" {
		if _, err := uuid.Parse(m.Cluster); err != nil {
			return m, fmt.Errorf("metadata: cluster id %q: %w", m.Cluster, err)
		}
	}
	if len(m.Keys) > maxKeyList {
		return m, fmt.Errorf("metadata: keys of %d bytes", len(m.Keys))
	}
	return m, nil
}

// maxKeyList is how long a list of key ids may be, in bytes.
const maxKeyList = seal.MaxKeys * (len(seal.ID{})*2 + 1)

// joinKeys and splitKeys make a list of key ids one text, which can be compared.
func joinKeys(ids []string) string { return strings.Join(ids, ",") }

func splitKeys(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(text, ",")
}
