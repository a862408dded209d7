define void @tile_8_2(ptr %a, ptr %b, i64 %depth, ptr %kept, i64 %place, ptr %c, ptr %residual, ptr %bias, i64 %line, i64 %count, ptr %places) nounwind {
entry.0:
  %.1 = and i64 %depth, 3
  %.2 = sub i64 %depth, %.1
  %.3 = icmp slt i64 0, %.2
  br i1 %.3, label %loop.1, label %done.2
loop.1:
  %.6 = phi i64 [ 0, %entry.0 ], [ %.64, %loop.1 ]
  %.7 = phi ptr [ %a, %entry.0 ], [ %.62, %loop.1 ]
  %.8 = phi ptr [ %b, %entry.0 ], [ %.63, %loop.1 ]
  %.9 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.56, %loop.1 ]
  %.10 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.61, %loop.1 ]
  %.11 = getelementptr i8, ptr %.7, i64 2048
  call void @llvm.prefetch.p0(ptr %.11, i32 0, i32 3, i32 1)
  %.13 = load <8 x float>, ptr %.8, align 4
  %.14 = load float, ptr %.7, align 4
  %.15 = insertelement <8 x float> poison, float %.14, i64 0
  %.16 = shufflevector <8 x float> %.15, <8 x float> poison, <8 x i32> zeroinitializer
  %.17 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.16, <8 x float> %.13, <8 x float> %.9)
  %.18 = getelementptr i8, ptr %.7, i64 4
  %.19 = load float, ptr %.18, align 4
  %.20 = insertelement <8 x float> poison, float %.19, i64 0
  %.21 = shufflevector <8 x float> %.20, <8 x float> poison, <8 x i32> zeroinitializer
  %.22 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.21, <8 x float> %.13, <8 x float> %.10)
  call void asm sideeffect "", "~{memory}"()
  %.24 = getelementptr i8, ptr %.8, i64 32
  %.25 = load <8 x float>, ptr %.24, align 4
  %.26 = getelementptr i8, ptr %.7, i64 8
  %.27 = load float, ptr %.26, align 4
  %.28 = insertelement <8 x float> poison, float %.27, i64 0
  %.29 = shufflevector <8 x float> %.28, <8 x float> poison, <8 x i32> zeroinitializer
  %.30 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.29, <8 x float> %.25, <8 x float> %.17)
  %.31 = getelementptr i8, ptr %.7, i64 12
  %.32 = load float, ptr %.31, align 4
  %.33 = insertelement <8 x float> poison, float %.32, i64 0
  %.34 = shufflevector <8 x float> %.33, <8 x float> poison, <8 x i32> zeroinitializer
  %.35 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.34, <8 x float> %.25, <8 x float> %.22)
  call void asm sideeffect "", "~{memory}"()
  %.37 = getelementptr i8, ptr %.8, i64 64
  %.38 = load <8 x float>, ptr %.37, align 4
  %.39 = getelementptr i8, ptr %.7, i64 16
  %.40 = load float, ptr %.39, align 4
  %.41 = insertelement <8 x float> poison, float %.40, i64 0
  %.42 = shufflevector <8 x float> %.41, <8 x float> poison, <8 x i32> zeroinitializer
  %.43 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.42, <8 x float> %.38, <8 x float> %.30)
  %.44 = getelementptr i8, ptr %.7, i64 20
  %.45 = load float, ptr %.44, align 4
  %.46 = insertelement <8 x float> poison, float %.45, i64 0
  %.47 = shufflevector <8 x float> %.46, <8 x float> poison, <8 x i32> zeroinitializer
  %.48 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.47, <8 x float> %.38, <8 x float> %.35)
  call void asm sideeffect "", "~{memory}"()
  %.50 = getelementptr i8, ptr %.8, i64 96
  %.51 = load <8 x float>, ptr %.50, align 4
  %.52 = getelementptr i8, ptr %.7, i64 24
  %.53 = load float, ptr %.52, align 4
  %.54 = insertelement <8 x float> poison, float %.53, i64 0
  %.55 = shufflevector <8 x float> %.54, <8 x float> poison, <8 x i32> zeroinitializer
  %.56 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.55, <8 x float> %.51, <8 x float> %.43)
  %.57 = getelementptr i8, ptr %.7, i64 28
  %.58 = load float, ptr %.57, align 4
  %.59 = insertelement <8 x float> poison, float %.58, i64 0
  %.60 = shufflevector <8 x float> %.59, <8 x float> poison, <8 x i32> zeroinitializer
  %.61 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.60, <8 x float> %.51, <8 x float> %.48)
  %.62 = getelementptr i8, ptr %.7, i64 32
  %.63 = getelementptr i8, ptr %.8, i64 128
  %.64 = add nsw i64 %.6, 4
  %.65 = icmp slt i64 %.64, %.2
  br i1 %.65, label %loop.1, label %done.2
done.2:
  %.68 = phi ptr [ %a, %entry.0 ], [ %.62, %loop.1 ]
  %.69 = phi ptr [ %b, %entry.0 ], [ %.63, %loop.1 ]
  %.70 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.56, %loop.1 ]
  %.71 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.61, %loop.1 ]
  %.72 = icmp slt i64 %.2, %depth
  br i1 %.72, label %loop.3, label %done.4
loop.3:
  %.75 = phi i64 [ %.2, %done.2 ], [ %.94, %loop.3 ]
  %.76 = phi ptr [ %.68, %done.2 ], [ %.92, %loop.3 ]
  %.77 = phi ptr [ %.69, %done.2 ], [ %.93, %loop.3 ]
  %.78 = phi <8 x float> [ %.70, %done.2 ], [ %.86, %loop.3 ]
  %.79 = phi <8 x float> [ %.71, %done.2 ], [ %.91, %loop.3 ]
  %.80 = getelementptr i8, ptr %.76, i64 2048
  call void @llvm.prefetch.p0(ptr %.80, i32 0, i32 3, i32 1)
  %.82 = load <8 x float>, ptr %.77, align 4
  %.83 = load float, ptr %.76, align 4
  %.84 = insertelement <8 x float> poison, float %.83, i64 0
  %.85 = shufflevector <8 x float> %.84, <8 x float> poison, <8 x i32> zeroinitializer
  %.86 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.85, <8 x float> %.82, <8 x float> %.78)
  %.87 = getelementptr i8, ptr %.76, i64 4
  %.88 = load float, ptr %.87, align 4
  %.89 = insertelement <8 x float> poison, float %.88, i64 0
  %.90 = shufflevector <8 x float> %.89, <8 x float> poison, <8 x i32> zeroinitializer
  %.91 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.90, <8 x float> %.82, <8 x float> %.79)
  %.92 = getelementptr i8, ptr %.76, i64 8
  %.93 = getelementptr i8, ptr %.77, i64 32
  %.94 = add nsw i64 %.75, 1
  %.95 = icmp slt i64 %.94, %depth
  br i1 %.95, label %loop.3, label %done.4
done.4:
  %.98 = phi ptr [ %.68, %done.2 ], [ %.92, %loop.3 ]
  %.99 = phi ptr [ %.69, %done.2 ], [ %.93, %loop.3 ]
  %.100 = phi <8 x float> [ %.70, %done.2 ], [ %.86, %loop.3 ]
  %.101 = phi <8 x float> [ %.71, %done.2 ], [ %.91, %loop.3 ]
  %.102 = and i64 %place, 1
  %.103 = icmp sgt i64 %.102, 0
  br i1 %.103, label %then.5, label %merge.6
then.5:
  %.106 = load <8 x float>, ptr %kept, align 4
  %.107 = fadd <8 x float> %.106, %.100
  %.108 = getelementptr i8, ptr %kept, i64 32
  %.109 = load <8 x float>, ptr %.108, align 4
  %.110 = fadd <8 x float> %.109, %.101
  br label %merge.6
merge.6:
  %.113 = phi <8 x float> [ %.107, %then.5 ], [ %.100, %done.4 ]
  %.114 = phi <8 x float> [ %.110, %then.5 ], [ %.101, %done.4 ]
  %.115 = and i64 %place, 2
  %.116 = icmp sgt i64 %.115, 0
  br i1 %.116, label %then.7, label %else.9
then.7:
  %.119 = call i64 @llvm.smin.i64(i64 %count, i64 8)
  %.120 = trunc i64 %.119 to i32
  %.121 = insertelement <8 x i32> poison, i32 %.120, i64 0
  %.122 = shufflevector <8 x i32> %.121, <8 x i32> poison, <8 x i32> zeroinitializer
  %.123 = icmp slt <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>, %.122
  %.124 = load float, ptr %bias, align 4
  %.125 = insertelement <8 x float> poison, float %.124, i64 0
  %.126 = shufflevector <8 x float> %.125, <8 x float> poison, <8 x i32> zeroinitializer
  %.127 = mul i64 %line, 0
  %.128 = fadd <8 x float> %.113, %.126
  %.129 = fcmp ogt <8 x float> splat (float 0x0000000000000000), %.128
  %.130 = select <8 x i1> %.129, <8 x float> splat (float 0x0000000000000000), <8 x float> %.128
  %.131 = getelementptr i8, ptr %c, i64 %.127
  call void @llvm.masked.store.v8f32.p0(<8 x float> %.130, ptr %.131, i32 4, <8 x i1> %.123)
  %.133 = getelementptr i8, ptr %bias, i64 4
  %.134 = load float, ptr %.133, align 4
  %.135 = insertelement <8 x float> poison, float %.134, i64 0
  %.136 = shufflevector <8 x float> %.135, <8 x float> poison, <8 x i32> zeroinitializer
  %.137 = fadd <8 x float> %.114, %.136
  %.138 = fcmp ogt <8 x float> splat (float 0x0000000000000000), %.137
  %.139 = select <8 x i1> %.138, <8 x float> splat (float 0x0000000000000000), <8 x float> %.137
  %.140 = getelementptr i8, ptr %c, i64 %line
  call void @llvm.masked.store.v8f32.p0(<8 x float> %.139, ptr %.140, i32 4, <8 x i1> %.123)
  br label %merge.8
else.9:
  store <8 x float> %.113, ptr %kept, align 4
  %.145 = getelementptr i8, ptr %kept, i64 32
  store <8 x float> %.114, ptr %.145, align 4
  br label %merge.8
merge.8:
  ret void
}
