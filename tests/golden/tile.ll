define void @tile_8_2(ptr %a, ptr %b, i64 %depth, ptr %kept, i64 %place, ptr %c, ptr %residual, ptr %bias, i64 %line, i64 %count, ptr %places) nounwind {
entry.0:
  %.1 = and i64 %depth, 3
  %.2 = sub i64 %depth, %.1
  %.3 = icmp slt i64 0, %.2
  br i1 %.3, label %loop.1, label %done.2
loop.1:
  %.6 = phi i64 [ 0, %entry.0 ], [ %.59, %loop.1 ]
  %.7 = phi ptr [ %a, %entry.0 ], [ %.57, %loop.1 ]
  %.8 = phi ptr [ %b, %entry.0 ], [ %.58, %loop.1 ]
  %.9 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.51, %loop.1 ]
  %.10 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.56, %loop.1 ]
  %.11 = load <8 x float>, ptr %.8, align 4
  %.12 = load float, ptr %.7, align 4
  %.13 = insertelement <8 x float> poison, float %.12, i64 0
  %.14 = shufflevector <8 x float> %.13, <8 x float> poison, <8 x i32> zeroinitializer
  %.15 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.14, <8 x float> %.11, <8 x float> %.9)
  %.16 = getelementptr i8, ptr %.7, i64 4
  %.17 = load float, ptr %.16, align 4
  %.18 = insertelement <8 x float> poison, float %.17, i64 0
  %.19 = shufflevector <8 x float> %.18, <8 x float> poison, <8 x i32> zeroinitializer
  %.20 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.19, <8 x float> %.11, <8 x float> %.10)
  %.21 = getelementptr i8, ptr %.8, i64 32
  %.22 = load <8 x float>, ptr %.21, align 4
  %.23 = getelementptr i8, ptr %.7, i64 8
  %.24 = load float, ptr %.23, align 4
  %.25 = insertelement <8 x float> poison, float %.24, i64 0
  %.26 = shufflevector <8 x float> %.25, <8 x float> poison, <8 x i32> zeroinitializer
  %.27 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.26, <8 x float> %.22, <8 x float> %.15)
  %.28 = getelementptr i8, ptr %.7, i64 12
  %.29 = load float, ptr %.28, align 4
  %.30 = insertelement <8 x float> poison, float %.29, i64 0
  %.31 = shufflevector <8 x float> %.30, <8 x float> poison, <8 x i32> zeroinitializer
  %.32 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.31, <8 x float> %.22, <8 x float> %.20)
  %.33 = getelementptr i8, ptr %.8, i64 64
  %.34 = load <8 x float>, ptr %.33, align 4
  %.35 = getelementptr i8, ptr %.7, i64 16
  %.36 = load float, ptr %.35, align 4
  %.37 = insertelement <8 x float> poison, float %.36, i64 0
  %.38 = shufflevector <8 x float> %.37, <8 x float> poison, <8 x i32> zeroinitializer
  %.39 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.38, <8 x float> %.34, <8 x float> %.27)
  %.40 = getelementptr i8, ptr %.7, i64 20
  %.41 = load float, ptr %.40, align 4
  %.42 = insertelement <8 x float> poison, float %.41, i64 0
  %.43 = shufflevector <8 x float> %.42, <8 x float> poison, <8 x i32> zeroinitializer
  %.44 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.43, <8 x float> %.34, <8 x float> %.32)
  %.45 = getelementptr i8, ptr %.8, i64 96
  %.46 = load <8 x float>, ptr %.45, align 4
  %.47 = getelementptr i8, ptr %.7, i64 24
  %.48 = load float, ptr %.47, align 4
  %.49 = insertelement <8 x float> poison, float %.48, i64 0
  %.50 = shufflevector <8 x float> %.49, <8 x float> poison, <8 x i32> zeroinitializer
  %.51 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.50, <8 x float> %.46, <8 x float> %.39)
  %.52 = getelementptr i8, ptr %.7, i64 28
  %.53 = load float, ptr %.52, align 4
  %.54 = insertelement <8 x float> poison, float %.53, i64 0
  %.55 = shufflevector <8 x float> %.54, <8 x float> poison, <8 x i32> zeroinitializer
  %.56 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.55, <8 x float> %.46, <8 x float> %.44)
  %.57 = getelementptr i8, ptr %.7, i64 32
  %.58 = getelementptr i8, ptr %.8, i64 128
  %.59 = add nsw i64 %.6, 4
  %.60 = icmp slt i64 %.59, %.2
  br i1 %.60, label %loop.1, label %done.2
done.2:
  %.63 = phi ptr [ %a, %entry.0 ], [ %.57, %loop.1 ]
  %.64 = phi ptr [ %b, %entry.0 ], [ %.58, %loop.1 ]
  %.65 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.51, %loop.1 ]
  %.66 = phi <8 x float> [ splat (float 0x0000000000000000), %entry.0 ], [ %.56, %loop.1 ]
  %.67 = icmp slt i64 %.2, %depth
  br i1 %.67, label %loop.3, label %done.4
loop.3:
  %.70 = phi i64 [ %.2, %done.2 ], [ %.87, %loop.3 ]
  %.71 = phi ptr [ %.63, %done.2 ], [ %.85, %loop.3 ]
  %.72 = phi ptr [ %.64, %done.2 ], [ %.86, %loop.3 ]
  %.73 = phi <8 x float> [ %.65, %done.2 ], [ %.79, %loop.3 ]
  %.74 = phi <8 x float> [ %.66, %done.2 ], [ %.84, %loop.3 ]
  %.75 = load <8 x float>, ptr %.72, align 4
  %.76 = load float, ptr %.71, align 4
  %.77 = insertelement <8 x float> poison, float %.76, i64 0
  %.78 = shufflevector <8 x float> %.77, <8 x float> poison, <8 x i32> zeroinitializer
  %.79 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.78, <8 x float> %.75, <8 x float> %.73)
  %.80 = getelementptr i8, ptr %.71, i64 4
  %.81 = load float, ptr %.80, align 4
  %.82 = insertelement <8 x float> poison, float %.81, i64 0
  %.83 = shufflevector <8 x float> %.82, <8 x float> poison, <8 x i32> zeroinitializer
  %.84 = call <8 x float> @llvm.fma.v8f32(<8 x float> %.83, <8 x float> %.75, <8 x float> %.74)
  %.85 = getelementptr i8, ptr %.71, i64 8
  %.86 = getelementptr i8, ptr %.72, i64 32
  %.87 = add nsw i64 %.70, 1
  %.88 = icmp slt i64 %.87, %depth
  br i1 %.88, label %loop.3, label %done.4
done.4:
  %.91 = phi ptr [ %.63, %done.2 ], [ %.85, %loop.3 ]
  %.92 = phi ptr [ %.64, %done.2 ], [ %.86, %loop.3 ]
  %.93 = phi <8 x float> [ %.65, %done.2 ], [ %.79, %loop.3 ]
  %.94 = phi <8 x float> [ %.66, %done.2 ], [ %.84, %loop.3 ]
  %.95 = and i64 %place, 1
  %.96 = icmp sgt i64 %.95, 0
  br i1 %.96, label %then.5, label %merge.6
then.5:
  %.99 = load <8 x float>, ptr %kept, align 4
  %.100 = fadd <8 x float> %.99, %.93
  %.101 = getelementptr i8, ptr %kept, i64 32
  %.102 = load <8 x float>, ptr %.101, align 4
  %.103 = fadd <8 x float> %.102, %.94
  br label %merge.6
merge.6:
  %.106 = phi <8 x float> [ %.100, %then.5 ], [ %.93, %done.4 ]
  %.107 = phi <8 x float> [ %.103, %then.5 ], [ %.94, %done.4 ]
  %.108 = and i64 %place, 2
  %.109 = icmp sgt i64 %.108, 0
  br i1 %.109, label %then.7, label %else.9
then.7:
  %.112 = call i64 @llvm.smin.i64(i64 %count, i64 8)
  %.113 = trunc i64 %.112 to i32
  %.114 = insertelement <8 x i32> poison, i32 %.113, i64 0
  %.115 = shufflevector <8 x i32> %.114, <8 x i32> poison, <8 x i32> zeroinitializer
  %.116 = icmp slt <8 x i32> <i32 0, i32 1, i32 2, i32 3, i32 4, i32 5, i32 6, i32 7>, %.115
  %.117 = load float, ptr %bias, align 4
  %.118 = insertelement <8 x float> poison, float %.117, i64 0
  %.119 = shufflevector <8 x float> %.118, <8 x float> poison, <8 x i32> zeroinitializer
  %.120 = mul i64 %line, 0
  %.121 = fadd <8 x float> %.106, %.119
  %.122 = fcmp ogt <8 x float> splat (float 0x0000000000000000), %.121
  %.123 = select <8 x i1> %.122, <8 x float> splat (float 0x0000000000000000), <8 x float> %.121
  %.124 = getelementptr i8, ptr %c, i64 %.120
  call void @llvm.masked.store.v8f32.p0(<8 x float> %.123, ptr %.124, i32 4, <8 x i1> %.116)
  %.126 = getelementptr i8, ptr %bias, i64 4
  %.127 = load float, ptr %.126, align 4
  %.128 = insertelement <8 x float> poison, float %.127, i64 0
  %.129 = shufflevector <8 x float> %.128, <8 x float> poison, <8 x i32> zeroinitializer
  %.130 = fadd <8 x float> %.107, %.129
  %.131 = fcmp ogt <8 x float> splat (float 0x0000000000000000), %.130
  %.132 = select <8 x i1> %.131, <8 x float> splat (float 0x0000000000000000), <8 x float> %.130
  %.133 = getelementptr i8, ptr %c, i64 %line
  call void @llvm.masked.store.v8f32.p0(<8 x float> %.132, ptr %.133, i32 4, <8 x i1> %.116)
  br label %merge.8
else.9:
  store <8 x float> %.106, ptr %kept, align 4
  %.138 = getelementptr i8, ptr %kept, i64 32
  store <8 x float> %.107, ptr %.138, align 4
  br label %merge.8
merge.8:
  ret void
}
