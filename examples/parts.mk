# make -j 4 -f parts.mk: a search in four parts, as many at a time as make has jobs.
N := 4
SEARCH := desktop.png folder.png --threshold 0.95
PARTS := $(foreach I,$(shell seq $(N)),desktop.part-$(I)-of-$(N).npz)

found.tsv: $(PARTS)
	patchsim merge $^ > $@

desktop.part-%-of-$(N).npz: desktop.png folder.png
	patchsim match $(SEARCH) --part $*/$(N) --part-file $@ --threads 1 --quiet

.DELETE_ON_ERROR: # a search that finds nothing leaves no found.tsv behind
