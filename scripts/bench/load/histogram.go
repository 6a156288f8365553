package load

import (
	"encoding/json"
	"math/bits"
	"time"
)

// Histogram counts durations in buckets that are at most 1/64 of their value
// wide, so a quantile is exact to 1.6 %. The zero value is empty. Not safe for
// concurrent use.
type Histogram struct {
	counts []uint64
	total  uint64
}

// subBits is the number of bits of a value that its bucket keeps.
const subBits = 6

// bucketOf gives small values a bucket each; above 2^subBits every power of
// two is cut into 2^subBits parts.
func bucketOf(ns uint64) int {
	shift := bits.Len64(ns) - subBits - 1
	if shift <= 0 {
		return int(ns)
	}
	return shift<<subBits + int(ns>>shift)
}

// upperEnd is the greatest value of a bucket.
func upperEnd(bucket int) uint64 {
	shift := bucket>>subBits - 1
	if shift <= 0 {
		return uint64(bucket)
	}
	top := uint64(bucket - shift<<subBits)
	return (top+1)<<shift - 1
}

// Add counts one duration; a negative one as 0.
func (h *Histogram) Add(d time.Duration) { h.add(bucketOf(uint64(max(d, 0))), 1) }

func (h *Histogram) add(bucket int, n uint64) {
	if bucket >= len(h.counts) {
		h.counts = append(h.counts, make([]uint64, bucket+1-len(h.counts))...)
	}
	h.counts[bucket] += n
	h.total += n
}

// Merge adds all that other has counted.
func (h *Histogram) Merge(other *Histogram) {
	for bucket, n := range other.counts {
		if n > 0 {
			h.add(bucket, n)
		}
	}
}

// Count is the number of durations.
func (h *Histogram) Count() uint64 { return h.total }

// Quantile gives the least value that at least the share q (0 to 1) of the
// durations does not exceed, rounded up to its bucket's end; 0 if there are
// none.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := uint64(q * float64(h.total))
	if float64(rank) < q*float64(h.total) || rank == 0 {
		rank++
	}
	seen := uint64(0)
	for bucket, n := range h.counts {
		if seen += n; seen >= rank {
			return time.Duration(upperEnd(bucket))
		}
	}
	return time.Duration(upperEnd(len(h.counts) - 1))
}

// MarshalJSON gives pairs of bucket and count, without the empty ones.
func (h Histogram) MarshalJSON() ([]byte, error) {
	pairs := [][2]uint64{}
	for bucket, n := range h.counts {
		if n > 0 {
			pairs = append(pairs, [2]uint64{uint64(bucket), n})
		}
	}
	return json.Marshal(pairs)
}

// UnmarshalJSON reads what MarshalJSON gives.
func (h *Histogram) UnmarshalJSON(text []byte) error {
	var pairs [][2]uint64
	if err := json.Unmarshal(text, &pairs); err != nil {
		return err
	}
	*h = Histogram{}
	for _, p := range pairs {
		h.add(int(min(p[0], uint64(bucketOf(1<<63)))), p[1])
	}
	return nil
}
