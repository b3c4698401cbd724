"""Which TensorFlow operations an untrusted model may use."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.framework import op_def_pb2
from tensorflow.python.client import pywrap_tf_session

from app.serving.reading import graph_rules


def _operations() -> list[Any]:
    buffer = pywrap_tf_session.TF_GetAllOpList()
    listed = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(buffer))
    return [each for each in listed.op if not each.name.startswith("Test")]


def _beyond(definition: Any) -> bool:
    node = tf.compat.v1.NodeDef(name="n", op=definition.name)
    for each in definition.attr:  # every text is the name of a file
        if each.type == "string":
            node.attr[each.name].s = b"/etc/passwd"
    return graph_rules._is_refused(node)


STATEFUL = """
AddManySparseToTensorsMap AddSparseToTensorsMap AllCandidateSampler AnonymousHashTable
AnonymousMutableDenseHashTable AnonymousMutableHashTable
AnonymousMutableHashTableOfTensors Assert AssignAddVariableOp AssignSubVariableOp
AssignVariableOp BoostedTreesCenterBias BoostedTreesCreateEnsemble
BoostedTreesCreateQuantileStreamResource BoostedTreesDeserializeEnsemble
BoostedTreesEnsembleResourceHandleOp BoostedTreesExampleDebugOutputs
BoostedTreesFlushQuantileSummaries BoostedTreesGetEnsembleStates BoostedTreesPredict
BoostedTreesQuantileStreamResourceAddSummaries
BoostedTreesQuantileStreamResourceDeserialize BoostedTreesQuantileStreamResourceFlush
BoostedTreesQuantileStreamResourceGetBucketBoundaries
BoostedTreesQuantileStreamResourceHandleOp BoostedTreesSerializeEnsemble
BoostedTreesTrainingPredict BoostedTreesUpdateEnsemble BoostedTreesUpdateEnsembleV2 Case
CheckNumerics CheckNumericsV2 CudnnRNN CudnnRNNBackprop CudnnRNNBackpropV2
CudnnRNNBackpropV3 CudnnRNNV2 CudnnRNNV3 DeepCopy DestroyResourceOp DeviceIndex
DisableCopyOnRead Empty GuaranteeConst HashTable HashTableV2 If InitializeTableV2
IsBoostedTreesEnsembleInitialized IsBoostedTreesQuantileStreamResourceInitialized
LearnedUnigramCandidateSampler LogUniformCandidateSampler LookupTableExportV2
LookupTableFindV2 LookupTableImportV2 LookupTableInsertV2 LookupTableRemoveV2
LookupTableSizeV2 Multinomial MutableDenseHashTable MutableDenseHashTableV2
MutableHashTable MutableHashTableOfTensors MutableHashTableOfTensorsV2
MutableHashTableV2 NonDeterministicInts ParameterizedTruncatedNormal Print RandomCrop
RandomGamma RandomPoisson RandomPoissonV2 RandomShuffle RandomStandardNormal
RandomUniform RandomUniformInt ReadVariableOp ResourceApplyAdaMax ResourceApplyAdadelta
ResourceApplyAdagrad ResourceApplyAdagradDA ResourceApplyAdagradV2 ResourceApplyAdam
ResourceApplyAdamWithAmsgrad ResourceApplyAddSign ResourceApplyCenteredRMSProp
ResourceApplyFtrl ResourceApplyFtrlV2 ResourceApplyGradientDescent
ResourceApplyKerasMomentum ResourceApplyMomentum ResourceApplyPowerSign
ResourceApplyProximalAdagrad ResourceApplyProximalGradientDescent ResourceApplyRMSProp
ResourceCountUpTo ResourceGather ResourceGatherNd ResourceScatterAdd ResourceScatterDiv
ResourceScatterMax ResourceScatterMin ResourceScatterMul ResourceScatterNdAdd
ResourceScatterNdMax ResourceScatterNdMin ResourceScatterNdSub ResourceScatterNdUpdate
ResourceScatterSub ResourceScatterUpdate ResourceSparseApplyAdadelta
ResourceSparseApplyAdagrad ResourceSparseApplyAdagradDA ResourceSparseApplyAdagradV2
ResourceSparseApplyCenteredRMSProp ResourceSparseApplyFtrl ResourceSparseApplyFtrlV2
ResourceSparseApplyKerasMomentum ResourceSparseApplyMomentum
ResourceSparseApplyProximalAdagrad ResourceSparseApplyProximalGradientDescent
ResourceSparseApplyRMSProp ResourceStridedSliceAssign RngReadAndSkip RngSkip
SampleDistortedBoundingBox SampleDistortedBoundingBoxV2 Stack StackCloseV2 StackPopV2
StackPushV2 StackV2 StatefulPartitionedCall StatefulRandomBinomial
StatefulStandardNormal StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform
StatefulUniformFullInt StatefulUniformInt StatelessRandomGetAlg
TakeManySparseFromTensorsMap TemporaryVariable TensorArray TensorArrayCloseV3
TensorArrayConcatV3 TensorArrayGatherV3 TensorArrayGrad TensorArrayGradV2
TensorArrayGradV3 TensorArrayGradWithShape TensorArrayReadV3 TensorArrayScatterV3
TensorArraySizeV3 TensorArraySplitV3 TensorArrayV2 TensorArrayV3 TensorArrayWriteV3
ThreadUnsafeUnigramCandidateSampler Timestamp TruncatedNormal UniformCandidateSampler
VarHandleOp VarIsInitializedOp Variable VariableShape VariableV2 While
"""
# Without those of data sets.
STATELESS = """
Abort Copy CopyHost CustomAggregator DebugGradientIdentity DebugGradientRefIdentity
DebugIdentity DebugNanCount DebugNumericSummary DebugNumericSummaryV2 DecodeProtoV2
EncodeProto GenerateVocabRemapping ImmutableConst InfeedEnqueuePrelinearizedBuffer
InitializeTableFromTextFile MatchingFiles MlirPassthroughOp PyFuncStateless ReadFile
ReaderNumRecordsProduced ReaderNumWorkUnitsCompleted ReaderRead ReaderReadUpTo
ReaderReset ReaderRestoreState ReaderSerializeState TPUCompilationResult
TPUEmbeddingActivations TPUPartitionedCall TPUPartitionedInput TPUPartitionedInputV2
TPUPartitionedOutput TPUPartitionedOutputV2 TPUReplicateMetadata TPUReplicatedInput
TPUReplicatedOutput XlaCustomCall XlaCustomCallV2 XlaLaunchV2
"""
# `top_paths` are paths through its probabilities.
NAMED_LIKE_A_FILE = {
    "CTCBeamSearchDecoder",
}


def test_whatever_takes_a_file_or_an_address_is_refused() -> None:
    """So that a new TensorFlow cannot bring one that is not noticed."""
    words = ("file", "path", "dir", "url", "address", "host", "directory", "memory_region")
    found = {
        definition.name
        for definition in _operations()
        for each in (*definition.input_arg, *definition.attr)
        if each.name.split("_")[-1].rstrip("s") in words or "file" in each.name
        if not _beyond(definition)
    }
    assert found == NAMED_LIKE_A_FILE


def test_the_stateful_operations_that_may_be_used() -> None:
    """All of them, for who reviews this: what is not here is refused."""
    allowed = [o.name for o in _operations() if o.is_stateful and not _beyond(o)]
    assert sorted(allowed) == STATEFUL.split()


def test_the_stateless_operations_that_may_not_be_used() -> None:
    refused = [o.name for o in _operations() if not o.is_stateful and _beyond(o)]
    assert sorted(o for o in refused if "Dataset" not in o) == STATELESS.split()


REFUSED = """
WriteFile SaveV2 RestoreV2 MergeV2Checkpoints LoadAndRemapMatrix TextLineReaderV2 IteratorV2
CreateSummaryFileWriter ImportEvent DebugIdentityV3 DumpTensor RpcCall RemoteCall Send Recv
FileSystemSetConfiguration CalibrationStatisticsSaver RecordInput Skipgram XlaCallModule
CollectiveReduceV2 StatsAggregatorHandleV2 InfeedDequeue ConfigureDistributedTPU
"""


@pytest.mark.parametrize("op", REFUSED.split())
def test_these_are_refused(op: str) -> None:
    assert graph_rules._is_refused(tf.compat.v1.NodeDef(name="n", op=op))
