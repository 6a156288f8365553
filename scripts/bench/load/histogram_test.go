package load

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBucketsCoverEveryValueOnce(t *testing.T) {
	last := -1
	for _, v := range []uint64{0, 1, 2, 63, 64, 65, 127, 128, 129, 130, 255, 256, 1000, 1 << 20, 1<<20 + 1<<14, 1 << 40, 1 << 63} {
		bucket := bucketOf(v)
		if bucket < last {
			t.Errorf("%d lies in bucket %d, below that of a smaller value", v, bucket)
		}
		if end := upperEnd(bucket); end < v || float64(end-v) > float64(v)/64 {
			t.Errorf("%d is told as %d", v, end)
		}
		if next := bucketOf(upperEnd(bucket) + 1); next != bucket+1 {
			t.Errorf("after bucket %d comes %d", bucket, next)
		}
		last = bucket
	}
}

func TestQuantileAgainstSorting(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 2, 3, 10, 99, 100, 101, 10_000} {
		var h Histogram
		values := make([]time.Duration, n)
		for i := range values {
			values[i] = time.Duration(math.Exp(random.Float64() * 20))
			h.Add(values[i])
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 1} {
			want := values[max(int(math.Ceil(q*float64(n))), 1)-1]
			got := h.Quantile(q)
			if got < want || float64(got-want) > float64(want)/64 {
				t.Errorf("%d values, quantile %g: %d, sorted %d", n, q, got, want)
			}
		}
	}
}

func TestHistogramSurvivesItsText(t *testing.T) {
	var h, back, twice Histogram
	if h.Quantile(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	for _, d := range []time.Duration{-5, 0, 10, time.Millisecond, time.Hour} {
		h.Add(d)
	}
	text, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	twice.Merge(&h)
	twice.Merge(&back)
	if twice.Count() != 10 || twice.Quantile(0.3) != 0 || twice.Quantile(0.5) != 10 || twice.Quantile(1) != h.Quantile(1) {
		t.Errorf("%s comes back as %+v", text, back)
	}
}
